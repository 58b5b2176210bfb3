package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strconv"
	"time"

	"denoised/inference"
)

// generateFields are the fields of a request to draw. Ranges that depend on the model are checked by the pipeline.
var generateFields = map[string]field[inference.Request]{
	"model":            textField(func(r *inference.Request, v string) { r.Model = &v }),
	"label":            {fromQuery: asText, repeated: true, set: setLabels},
	"count":            integerField(math.MinInt32, math.MaxInt32, func(r *inference.Request, v int64) { r.Count = pointTo(int(v)) }),
	"seed":             integerField(0, math.MaxUint32, func(r *inference.Request, v int64) { r.Seed = pointTo(uint32(v)) }),
	"steps":            integerField(math.MinInt32, math.MaxInt32, func(r *inference.Request, v int64) { r.Steps = pointTo(int(v)) }),
	"sampler":          textField(func(r *inference.Request, v string) { r.Sampler = &v }),
	"eta":              numberField(func(r *inference.Request, v float64) { r.Eta = &v }),
	"schedule":         textField(func(r *inference.Request, v string) { r.Schedule = &v }),
	"spacing":          textField(func(r *inference.Request, v string) { r.Spacing = &v }),
	"steps_offset":     integerField(math.MinInt32, math.MaxInt32, func(r *inference.Request, v int64) { r.StepsOffset = pointTo(int(v)) }),
	"timesteps":        {fromQuery: asNumbers, set: setTimesteps},
	"size":             {fromQuery: asNumbers, set: setSize},
	"scale":            integerField(math.MinInt32, math.MaxInt32, func(r *inference.Request, v int64) { r.Scale = pointTo(int(v)) }),
	"guidance_scale":   numberField(func(r *inference.Request, v float64) { r.GuidanceScale = &v }),
	"guidance_rescale": numberField(func(r *inference.Request, v float64) { r.GuidanceRescale = &v }),
}

func pointTo[T any](v T) *T { return &v }

func setLabels(r *inference.Request, v any) string {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if len(list) == 0 {
		return "is an empty list; allowed: a label, or a list of at least one"
	}
	for _, entry := range list {
		label, ok := entry.(string)
		if !ok {
			return wrongType(entry, "a label, which is a string, or a list of labels")
		}
		r.Labels = append(r.Labels, label)
	}
	return ""
}

func setTimesteps(r *inference.Request, v any) string {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return "is no list; allowed: at least one timestep, from the noisiest down"
	}
	for _, entry := range list {
		t, wrong := number(entry)
		if wrong != "" {
			return wrong
		}
		r.Timesteps = append(r.Timesteps, t)
	}
	return ""
}

// maxSide bounds a picture's sides before they are multiplied.
const maxSide = 4096

func setSize(r *inference.Request, v any) string {
	list, ok := v.([]any)
	if !ok || len(list) != 2 {
		return "is not a list of two; allowed: [height, width]"
	}
	var size [2]int
	for i, entry := range list {
		n, wrong := integer(entry, 1, maxSide)
		if wrong != "" {
			return []string{"its height ", "its width "}[i] + wrong
		}
		size[i] = int(n)
	}
	r.Size = &size
	return ""
}

// The forms in which drawn images are answered.
const (
	typePNG       = "image/png"
	typeJSON      = "application/json"
	typeMultipart = "multipart/mixed"
	typeNPY       = "application/x-npy"
)

// maxRequest bounds the body of a request to draw, in bytes. Only images need more.
const maxRequest = 64 << 10

func (s *Server) postGenerate(w http.ResponseWriter, r *http.Request) error {
	if err := requireType(r, "application/json"); err != nil {
		return err
	}
	var req inference.Request
	faults, err := decodeJSON(http.MaxBytesReader(w, r.Body, maxRequest), generateFields, &req)
	if err != nil {
		return err
	}
	for name := range r.URL.Query() {
		faults = append(faults, fault{Parameter: name, Detail: "the fields of a POST go into its body"})
	}
	return s.generate(w, r, req, faults)
}

func (s *Server) getGenerate(w http.ResponseWriter, r *http.Request) error {
	var req inference.Request
	faults, err := decodeQuery(r.URL.RawQuery, generateFields, &req)
	if err != nil {
		return err
	}
	return s.generate(w, r, req, faults)
}

func (s *Server) generate(w http.ResponseWriter, r *http.Request, req inference.Request, faults []fault) error {
	w.Header().Set("Vary", "Accept")
	media, err := negotiate(r, typePNG, typeJSON, typeMultipart, typeNPY)
	if err != nil {
		return err
	}
	plan, err := s.pipeline.Resolve(req)
	if err := withFaults(r, faults, err); err != nil {
		return err
	}
	recipe := plan.Recipe
	if media == typePNG {
		if err := s.checkSheet(r, recipe); err != nil {
			return err
		}
	}
	if r.Method == http.MethodGet {
		if s.notModified(w, r, plan, media) {
			return nil
		}
	} else {
		w.Header().Set("Cache-Control", "no-store")
	}
	result, err := plan.Generate(r.Context())
	if err != nil {
		return err
	}
	s.metrics.made(recipe.Model, "generate", len(result.Images))
	started := time.Now()
	contentType, body, err := encodeResult(result, media)
	if err != nil {
		return err
	}
	setTiming(w, result.Timing, time.Since(started))
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Denoised-Model", recipe.Model)
	w.Header().Set("Seed", strconv.FormatUint(uint64(recipe.Seed), 10))
	return write(w, body)
}

// checkSheet holds a contact sheet to the limit that a single picture has.
func (s *Server) checkSheet(r *http.Request, recipe inference.Recipe) error {
	height, width := recipe.PictureSize()
	pixels := height * width
	if pixels <= s.pipeline.Limits.Pixels {
		return nil
	}
	return withFaults(r, faultsOf(r, []inference.FieldError{{Field: "count", Detail: fmt.Sprintf(
		"gives a sheet of %d pixels; allowed: at most %d, or to ask for application/json", pixels, s.pipeline.Limits.Pixels)}}), nil)
}

// notModified sets the caching headers of a GET and answers it with 304 when the client holds the same bytes already.
func (s *Server) notModified(w http.ResponseWriter, r *http.Request, plan *inference.Plan, media string) bool {
	if !r.URL.Query().Has("seed") || !plan.Model.Bitwise {
		w.Header().Set("Cache-Control", "no-store")
		return false
	}
	tag := entityTag(plan, media, s.pipeline.Version)
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-cache")
	if !matches(r.Header.Values("If-None-Match"), tag) {
		return false
	}
	w.WriteHeader(http.StatusNotModified)
	return true
}

func setTiming(w http.ResponseWriter, t inference.Timing, encode time.Duration) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	w.Header().Set("Server-Timing", fmt.Sprintf("queue;dur=%.1f, network;dur=%.1f, encode;dur=%.1f",
		ms(t.Queue), ms(t.Network), ms(encode)))
}

// write sends a body whole. A client that has gone meanwhile is no error of the request.
func write(w http.ResponseWriter, body []byte) error {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
	return nil
}

// encodeResult writes the images of a result in the form of a media type. Equal results give equal bytes.
func encodeResult(result *inference.Result, media string) (contentType string, body []byte, err error) {
	switch media {
	case typeJSON:
		body, err = encodeJSON(result)
	case typeMultipart:
		return encodeMultipart(result)
	case typeNPY:
		body = result.NPY()
	default:
		body, err = result.PNG()
	}
	return media, body, err
}

type drawnImage struct {
	Seed  uint32 `json:"seed"`
	Label string `json:"label,omitempty"`
	PNG   []byte `json:"png"`
}

type drawn struct {
	Model   string       `json:"model"`
	Sampler string       `json:"sampler"`
	Steps   int          `json:"steps"`
	Seed    uint32       `json:"seed"`
	Images  []drawnImage `json:"images"`
}

func encodeJSON(result *inference.Result) ([]byte, error) {
	recipe := result.Recipe
	answer := drawn{Model: recipe.Model, Sampler: recipe.Sampler, Steps: recipe.Steps, Seed: recipe.Seed}
	for _, image := range result.Images {
		file, err := image.PNG()
		if err != nil {
			return nil, err
		}
		answer.Images = append(answer.Images, drawnImage{Seed: image.Recipe.Seed, Label: labelOf(image), PNG: file})
	}
	return json.Marshal(answer)
}

func labelOf(image inference.Image) string {
	if len(image.Recipe.Labels) == 0 {
		return ""
	}
	return image.Recipe.Labels[0]
}

// encodeMultipart writes a part an image. Its boundary comes from the recipe, since a random one would make two answers
// to the same request differ.
func encodeMultipart(result *inference.Result) (contentType string, body []byte, err error) {
	var buffer bytes.Buffer
	writer := multipart.NewWriter(&buffer)
	if err := writer.SetBoundary("denoised-" + fingerprint(result.Recipe)[:32]); err != nil {
		return "", nil, err
	}
	for i, image := range result.Images {
		file, err := image.PNG()
		if err != nil {
			return "", nil, err
		}
		header := textproto.MIMEHeader{
			"Content-Type":        {typePNG},
			"Content-Disposition": {fmt.Sprintf(`attachment; filename="%d.png"`, i)},
			"Seed":                {strconv.FormatUint(uint64(image.Recipe.Seed), 10)},
		}
		part, err := writer.CreatePart(header)
		if err != nil {
			return "", nil, err
		}
		if _, err := part.Write(file); err != nil {
			return "", nil, err
		}
	}
	if err := writer.Close(); err != nil {
		return "", nil, err
	}
	return "multipart/mixed; boundary=" + writer.Boundary(), buffer.Bytes(), nil
}
