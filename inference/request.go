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
	Model           *string
	Labels          []string // dealt over the images in turn
	Count           *int
	Seed            *uint32
	Steps           *int
	Sampler         *string
	Eta             *float64
	Schedule        *string
	Spacing         *string
	StepsOffset     *int
	Timesteps       []float64 // instead of a schedule and a spacing
	Size            *[2]int   // height, width
	Scale           *int
	GuidanceScale   *float64
	GuidanceRescale *float64
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
	Model           string    `json:"model"`
	Labels          Labels    `json:"label,omitempty"`
	Count           int       `json:"count"`
	Seed            uint32    `json:"seed"`
	Steps           int       `json:"steps"`
	Sampler         string    `json:"sampler"`
	Eta             *float64  `json:"eta,omitempty"` // only where the sampler has it
	Schedule        string    `json:"schedule,omitempty"`
	Spacing         string    `json:"spacing,omitempty"`
	StepsOffset     *int      `json:"steps_offset,omitempty"` // only with leading spacing
	Timesteps       []float64 `json:"timesteps,omitempty"`    // instead of the three above
	Size            [2]int    `json:"size"`
	Scale           int       `json:"scale"`
	GuidanceScale   float64   `json:"guidance_scale"`
	GuidanceRescale float64   `json:"guidance_rescale"`
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
	course  course
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
		Size: value(req.Size, [2]int{b.Height, b.Width}), Scale: value(req.Scale, 1),
	}
	between(&f, "count", r.Count, 1, p.Limits.Count)
	between(&f, "scale", r.Scale, 1, 16)
	m.checkLabels(&f, r)
	m.resolveGuidance(&f, req, &r)
	p.checkSize(&f, m, r, req.Size != nil)
	c := p.checkCourse(&f, m, req, &r)
	r.Eta = resolveEta(&f, c.method, req.Eta, r.Sampler)
	if err := f.err(); err != nil {
		return nil, err
	}
	return &Plan{Recipe: r, Model: m, version: p.Version, course: c}, nil
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

// resolveGuidance fills in the guidance of a request. Without a label there is nothing to be guided to, so the model's
// defaults do not apply there, and asking for guidance is an error.
func (m *Model) resolveGuidance(f *faults, req Request, r *Recipe) {
	possible := m.Guides() && len(req.Labels) > 0
	r.GuidanceScale = 1
	if possible {
		r.GuidanceScale, r.GuidanceRescale = m.Bundle.Defaults.GuidanceScale, m.Bundle.Defaults.GuidanceRescale
	}
	r.GuidanceScale = value(req.GuidanceScale, r.GuidanceScale)
	r.GuidanceRescale = value(req.GuidanceRescale, r.GuidanceRescale)
	between(f, "guidance_scale", r.GuidanceScale, 0, 30)
	between(f, "guidance_rescale", r.GuidanceRescale, 0, 1)
	for _, field := range []struct {
		name      string
		sent, off float64
	}{{"guidance_scale", r.GuidanceScale, 1}, {"guidance_rescale", r.GuidanceRescale, 0}} {
		switch {
		case possible || field.sent == field.off:
		case !m.Guides():
			f.add(field.name, "the model %s cannot be guided: it needs classes and a null label; allowed: %g", m.Bundle.Name, field.off)
		default:
			f.add(field.name, "needs a label to guide to; allowed without one: %g", field.off)
		}
	}
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
	resolved := value(eta, method.DefaultEta)
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
		if m := p.byDefault(task); m != nil {
			return m, nil
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

// byDefault is the model for a task where none is named: the first that can do it. Of those that are given a picture it is
// the first that takes every picture, a colour model. It is nil where no model can.
func (p *Pipeline) byDefault(task string) *Model {
	var first *Model
	for _, m := range p.models {
		switch {
		case !m.does(task):
		case task == "generate" || m.Bundle.Channels == 3:
			return m
		case first == nil:
			first = m
		}
	}
	return first
}

// value is what a pointer points to, or the default.
func value[T any](sent *T, absent T) T {
	if sent == nil {
		return absent
	}
	return *sent
}
