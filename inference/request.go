package inference

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	"denoised/inference/diffusion"
)

// Request asks for images. A nil field was not sent and takes the model's default.
type Request struct {
	Model         *string
	Labels        []string // dealt over the images in turn
	Count         *int
	Seed          *uint32
	Steps         *int
	Sampler       *string
	Eta           *float64
	Size          *[2]int // height, width
	Scale         *int
	GuidanceScale *float64
}

// Limits bounds what one request may ask for.
type Limits struct {
	Steps  int
	Count  int
	Pixels int // of one image, sent or drawn; enlarging counts
}

// Recipe is a request with every default filled in: together with the bundle it decides each pixel. As JSON it is a
// request again.
type Recipe struct {
	Model         string   `json:"model"`
	Labels        Labels   `json:"label,omitempty"`
	Count         int      `json:"count"`
	Seed          uint32   `json:"seed"`
	Steps         int      `json:"steps"`
	Sampler       string   `json:"sampler"`
	Eta           *float64 `json:"eta,omitempty"` // only where the sampler has it
	Size          [2]int   `json:"size"`
	Scale         int      `json:"scale"`
	GuidanceScale float64  `json:"guidance_scale"`
}

// Labels is one class or several; a single one is a plain string in JSON.
type Labels []string

// MarshalJSON implements json.Marshaler.
func (l Labels) MarshalJSON() ([]byte, error) {
	if len(l) == 1 {
		return json.Marshal(l[0])
	}
	return json.Marshal([]string(l))
}

// Single is the recipe that draws image i alone.
func (r Recipe) Single(i int) Recipe {
	r.Seed += uint32(i)
	r.Count = 1
	if len(r.Labels) > 0 {
		r.Labels = Labels{r.Labels[i%len(r.Labels)]}
	}
	return r
}

// Plan is a checked request: the recipe with what its execution needs.
type Plan struct {
	Recipe Recipe
	Model  *Model

	version string
	method  diffusion.Method
	levels  []diffusion.Level
}

// Resolve fills in the defaults of a request and checks every field of it. The error is an [*Error] that names all
// fields at fault.
func (p *Pipeline) Resolve(req Request) (*Plan, error) {
	m, err := p.find(req.Model, "generate")
	if err != nil {
		return nil, err
	}
	var f faults
	b := m.Bundle
	r := Recipe{
		Model: b.Name, Labels: req.Labels,
		Count: value(req.Count, 1), Seed: value(req.Seed, rand.Uint32()),
		Steps: value(req.Steps, b.Defaults.Steps), Sampler: value(req.Sampler, b.Defaults.Sampler),
		Size: value(req.Size, [2]int{b.Height, b.Width}), Scale: value(req.Scale, 1),
	}
	between(&f, "count", r.Count, 1, p.Limits.Count)
	between(&f, "scale", r.Scale, 1, 16)
	m.checkLabels(&f, r)
	r.GuidanceScale = m.resolveGuidance(&f, req)
	p.checkSize(&f, m, r, req.Size != nil)
	method, levels := p.checkSampler(&f, m, r.Sampler, r.Steps)
	r.Eta = resolveEta(&f, method, req.Eta, r.Sampler)
	if err := f.err(); err != nil {
		return nil, err
	}
	return &Plan{Recipe: r, Model: m, version: p.Version, method: method, levels: levels}, nil
}

// checkSampler finds a sampler and the levels of a run of it, or says why there are none.
func (p *Pipeline) checkSampler(f *faults, m *Model, name string, steps int) (diffusion.Method, []diffusion.Level) {
	method := p.checkMethod(f, name)
	before := len(*f)
	between(f, "steps", steps, 1, p.Limits.Steps)
	if method.Sample == nil || len(*f) > before {
		return method, nil
	}
	levels, err := m.levels(method, steps)
	if err != nil {
		f.add("steps", "%v", err)
	}
	return method, levels
}

func (p *Pipeline) checkMethod(f *faults, name string) diffusion.Method {
	method, ok := diffusion.MethodOf(name)
	if !ok {
		f.add("sampler", "%.80q is unknown; allowed: %s", name, strings.Join(diffusion.Methods(), ", "))
	}
	return method
}

func (m *Model) checkLabels(f *faults, r Recipe) {
	switch {
	case len(r.Labels) > 0 && !m.Conditional():
		f.add("label", "the model %s has no classes", r.Model)
		return
	case len(r.Labels) == 0 && !m.Unconditional():
		f.add("label", "the model %s draws classes only; allowed: %s", r.Model, strings.Join(m.Bundle.Labels, ", "))
		return
	case len(r.Labels) > r.Count && r.Count > 0:
		f.add("label", "lists %d labels for %d images; allowed: at most one an image", len(r.Labels), r.Count)
	}
	for _, label := range r.Labels {
		if m.index(label) < 0 {
			f.add("label", "%.80q is unknown; allowed: %s", label, strings.Join(m.Bundle.Labels, ", "))
			return
		}
	}
}

// resolveGuidance is the guidance scale of a request. Without a label there is nothing to be guided to, so the model's
// default does not apply there, and asking for guidance is an error.
func (m *Model) resolveGuidance(f *faults, req Request) float64 {
	possible := m.Guides() && len(req.Labels) > 0
	if req.GuidanceScale == nil {
		if possible {
			return m.Bundle.Defaults.GuidanceScale
		}
		return 1
	}
	scale := *req.GuidanceScale
	between(f, "guidance_scale", scale, 0, 30)
	switch {
	case possible || scale == 1:
	case !m.Guides():
		f.add("guidance_scale", "the model %s cannot be guided: it needs classes and a null label; allowed: 1", m.Bundle.Name)
	default:
		f.add("guidance_scale", "needs a label to guide to; allowed without one: 1")
	}
	return scale
}

func resolveEta(f *faults, method diffusion.Method, eta *float64, sampler string) *float64 {
	if method.Sample == nil {
		return nil
	}
	if !method.Eta {
		if eta != nil {
			f.add("eta", "the sampler %s has none", sampler)
		}
		return nil
	}
	resolved := value(eta, 0)
	between(f, "eta", resolved, 0, 1)
	return &resolved
}

func (p *Pipeline) checkSize(f *faults, m *Model, r Recipe, sent bool) {
	before := len(*f)
	m.serves(f, "size", r.Size)
	if len(*f) > before {
		return
	}
	if pixels := r.Size[0] * r.Size[1] * r.Scale * r.Scale; pixels > p.Limits.Pixels {
		field := "scale"
		if sent {
			field = "size"
		}
		f.add(field, "gives a picture of %d pixels; allowed: at most %d", pixels, p.Limits.Pixels)
	}
}

// find is the model of a name, or the first that does the task.
func (p *Pipeline) find(name *string, task string) (*Model, error) {
	if name == nil {
		for _, m := range p.models {
			if m.does(task) {
				return m, nil
			}
		}
		return nil, &Error{Kind: NotFound, Detail: fmt.Sprintf("no model that is served can %s", task)}
	}
	m, err := p.Model(*name)
	if err != nil {
		return nil, err
	}
	if !m.does(task) {
		f := faults{{Field: "model", Detail: fmt.Sprintf("%s cannot %s", m.Bundle.Name, task)}}
		return nil, f.err()
	}
	return m, nil
}

// value is what a pointer points to, or the default.
func value[T any](sent *T, absent T) T {
	if sent == nil {
		return absent
	}
	return *sent
}
