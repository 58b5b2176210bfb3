package api

import (
	"io"
	"math"
	"mime"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"denoised/inference"
)

var denoiseFields = map[string]field[inference.DenoiseRequest]{
	"model":   textField(func(r *inference.DenoiseRequest, v string) { r.Model = &v }),
	"sigma":   numberField(func(r *inference.DenoiseRequest, v float64) { r.Sigma = &v }),
	"steps":   integerField(math.MinInt32, math.MaxInt32, func(r *inference.DenoiseRequest, v int64) { r.Steps = pointTo(int(v)) }),
	"sampler": textField(func(r *inference.DenoiseRequest, v string) { r.Sampler = &v }),
	"seed":    integerField(0, math.MaxUint32, func(r *inference.DenoiseRequest, v int64) { r.Seed = pointTo(uint32(v)) }),
}

var noiseFields = map[string]field[inference.NoiseRequest]{
	"model":    textField(func(r *inference.NoiseRequest, v string) { r.Model = &v }),
	"sigma":    {fromQuery: asNumber, repeated: true, set: setSigmas},
	"timestep": numberField(func(r *inference.NoiseRequest, v float64) { r.Timestep = &v }),
	"seed":     integerField(0, math.MaxUint32, func(r *inference.NoiseRequest, v int64) { r.Seed = pointTo(uint32(v)) }),
}

func setSigmas(r *inference.NoiseRequest, v any) string {
	list, _ := v.([]any)
	for _, entry := range list {
		sigma, wrong := number(entry)
		if wrong != "" {
			return wrong
		}
		r.Sigmas = append(r.Sigmas, sigma)
	}
	return ""
}

func (s *Server) denoise(w http.ResponseWriter, r *http.Request) error {
	var req inference.DenoiseRequest
	faults, err := decodeQuery(r.URL.RawQuery, denoiseFields, &req)
	if err != nil {
		return err
	}
	return s.change(w, r, "denoise", faults, func(picture *inference.Picture) (*inference.Changed, error) {
		changed, err := s.pipeline.Denoise(r.Context(), req, picture)
		if err == nil {
			w.Header().Set("Denoised-Sigma", strconv.FormatFloat(changed.Sigma, 'g', 6, 64))
		}
		return changed, err
	})
}

func (s *Server) noise(w http.ResponseWriter, r *http.Request) error {
	var req inference.NoiseRequest
	faults, err := decodeQuery(r.URL.RawQuery, noiseFields, &req)
	if err != nil {
		return err
	}
	return s.change(w, r, "noise", faults, func(picture *inference.Picture) (*inference.Changed, error) {
		return s.pipeline.Noise(req, picture)
	})
}

// large is the pixels from which on what a picture leaves behind is worth clearing away at once.
const large = 1 << 22

// change reads the picture of a request, has it changed and answers with what it became.
func (s *Server) change(w http.ResponseWriter, r *http.Request, task string, faults []fault,
	apply func(*inference.Picture) (*inference.Changed, error)) error {
	w.Header().Set("Cache-Control", "no-store")
	if _, err := negotiate(r, typePNG); err != nil {
		return err
	}
	if len(faults) > 0 {
		return withFaults(r, faults, nil)
	}
	file, err := readImage(r)
	if err != nil {
		return err
	}
	picture, err := inference.ReadPicture(file, s.pipeline.Limits.Pixels)
	if err != nil {
		return err
	}
	if picture.Width*picture.Height > large {
		runtime.GC() // the file and its decoded image, which would else be cleared away once as much again had come
	}
	changed, err := apply(picture)
	if err != nil {
		return err
	}
	started := time.Now()
	body, err := changed.Picture.PNG()
	if err != nil {
		return err
	}
	if changed.Model != nil {
		s.metrics.made(changed.Model.Bundle.Name, task, 1)
		w.Header().Set("Denoised-Model", changed.Model.Bundle.Name)
	}
	setTiming(w, changed.Timing, time.Since(started))
	w.Header().Set("Content-Type", typePNG)
	w.Header().Set("Seed", strconv.FormatUint(uint64(changed.Seed), 10))
	return write(w, body)
}

var imageTypes = []string{"image/png", "image/jpeg", "image/webp"}

// formType is what `curl -d` and `curl --data-binary` say of any body that they are not told the type of.
const formType = "application/x-www-form-urlencoded"

// requireType refuses a body of another type than those allowed. None at all, and the form type, are taken to be what
// the route expects.
func requireType(r *http.Request, allowed ...string) error {
	header := r.Header.Get("Content-Type")
	if header == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(header)
	if err == nil && (media == formType || slices.Contains(allowed, media)) {
		return nil
	}
	return refuse(http.StatusUnsupportedMediaType, "a body of the type %s is not read here; allowed: %s", quoted(header), strings.Join(allowed, ", "))
}

// readImage is the file that a request carries, as its body or as the part "image" of a form.
func readImage(r *http.Request) ([]byte, error) {
	const form = "multipart/form-data"
	if err := requireType(r, append(slices.Clone(imageTypes), form)...); err != nil {
		return nil, err
	}
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media == form {
		return readPart(r)
	}
	file, err := readBody(r.Body, max(r.ContentLength, 0))
	if err != nil {
		return nil, err
	}
	if len(file) == 0 {
		return nil, refuse(http.StatusBadRequest, "the body is empty; it should be the image")
	}
	return file, nil
}

// readPart reads a form part by part: the standard library's own way writes large ones to a disk that may be read-only.
func readPart(r *http.Request) ([]byte, error) {
	reader, err := r.MultipartReader()
	if err != nil {
		return nil, unreadable(err, "the form cannot be read")
	}
	var file []byte
	for {
		part, err := reader.NextPart()
		if err == io.EOF { // wrapped, it is a form that ends too early
			break
		}
		if err != nil {
			return nil, unreadable(err, "the form cannot be read")
		}
		if part.FormName() != "image" || file != nil {
			return nil, &refusal{status: http.StatusUnprocessableEntity, detail: "the form cannot be served as it stands",
				faults: []fault{{Pointer: pointer(part.FormName()), Detail: "allowed: one part, called image"}}}
		}
		if file, err = readBody(part, max(r.ContentLength, 0)); err != nil {
			return nil, err
		}
	}
	if len(file) == 0 {
		return nil, refuse(http.StatusBadRequest, "the form has no part called image, or an empty one")
	}
	return file, nil
}
