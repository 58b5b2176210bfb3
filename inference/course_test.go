package inference

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"denoised/inference/diffusion"
	"denoised/inference/inferencetest"
	"denoised/weights"
)

// TestCourse has the parts of a recipe that choose the levels, as they are resolved from a request and a bundle.
func TestCourse(t *testing.T) {
	leading := inferencetest.Bundle("ten", 8)
	leading.Scheduler.TimestepSpacing, leading.Scheduler.StepsOffset = "leading", 1
	karras := inferencetest.Bundle("ten", 8)
	karras.Scheduler.SigmaSchedule = "karras"
	long := inferencetest.Bundle("ten", 8)
	long.Defaults.Steps = 1000
	for _, c := range []struct {
		name   string
		bundle *weights.Bundle
		req    Request
		want   string
	}{
		{"the bundle's own", leading, Request{},
			`{"steps":10,"sampler":"ddim","eta":0,"schedule":"native","spacing":"leading","steps_offset":1}`},
		{"a σ schedule of the bundle's", karras, Request{Sampler: ptr("heun")},
			`{"steps":10,"sampler":"heun","schedule":"karras","spacing":"trailing"}`},
		{"a σ schedule that the sampler's class ignores", karras, Request{},
			`{"steps":10,"sampler":"ddim","eta":0,"schedule":"native","spacing":"trailing"}`},
		{"a σ schedule that the sampler cannot have", karras, Request{Sampler: ptr("pndm")},
			`{"steps":10,"sampler":"pndm","schedule":"native","spacing":"trailing"}`},
		{"chosen", leading, Request{Sampler: ptr("heun"), Schedule: ptr("beta"), Spacing: ptr("linspace"), Steps: ptr(7)},
			`{"steps":7,"sampler":"heun","schedule":"beta","spacing":"linspace"}`},
		{"an offset of its own", leading, Request{Sampler: ptr("euler"), StepsOffset: ptr(3)},
			`{"steps":10,"sampler":"euler","schedule":"native","spacing":"leading","steps_offset":3}`},
		{"sgm_uniform is trailing", leading, Request{Sampler: ptr("euler"), Schedule: ptr("sgm_uniform")},
			`{"steps":10,"sampler":"euler","schedule":"native","spacing":"trailing"}`},
		{"an alias", leading, Request{Sampler: ptr("plms"), Spacing: ptr("trailing")},
			`{"steps":10,"sampler":"pndm","schedule":"native","spacing":"trailing"}`},
		{"timesteps override both", leading, Request{Timesteps: []float64{900, 500, 20}, Schedule: ptr("karras"), Spacing: ptr("linspace")},
			`{"steps":3,"sampler":"ddim","eta":0,"timesteps":[900,500,20]}`},
		{"a default too long for the sampler", long, Request{Sampler: ptr("lcm")}, `{"steps":50,"sampler":"lcm","schedule":"native"}`},
		{"distilled samplers have timesteps of their own", leading, Request{Sampler: ptr("tcd"), Steps: ptr(4)},
			`{"steps":4,"sampler":"tcd","eta":0.3,"schedule":"native"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan, err := serve(t, c.bundle, inferencetest.NewGaussian(t)).Resolve(c.req)
			if err != nil {
				t.Fatal(err)
			}
			whole, err := json.Marshal(plan.Recipe)
			if err != nil {
				t.Fatal(err)
			}
			_, part, _ := strings.Cut(string(whole), `"steps"`)
			part, _, _ = strings.Cut(part, `,"size"`)
			if got := `{"steps"` + part + "}"; got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if len(plan.course.levels) != plan.Recipe.Steps+1 {
				t.Errorf("%d levels for %d steps", len(plan.course.levels), plan.Recipe.Steps)
			}
		})
	}
}

// TestImpliedStepsFit opens a schedule that has no room for what its pipeline draws when it is not told.
func TestImpliedStepsFit(t *testing.T) {
	b := inferencetest.Bundle("ten", 8)
	b.Scheduler.TimestepSpacing, b.Scheduler.StepsOffset = "leading", 1
	b.Defaults = weights.Defaults{Sampler: "ddpm", Steps: 1000, StepsImplied: true, GuidanceScale: 1}
	plan, err := serve(t, b, inferencetest.NewGaussian(t)).Resolve(Request{})
	if err != nil || plan.Recipe.Steps != 999 {
		t.Errorf("%+v, %v", plan, err)
	}
	b.Defaults.Steps, b.Defaults.StepsImplied = 1000, false
	const want = "ten: the default steps: 1000 do not fit into the schedule with steps_offset 1; the next lower number that does is 999"
	if _, err := NewModel(b, inferencetest.NewGaussian(t), 8, Unobserved{}); err == nil || err.Error() != want {
		t.Errorf("steps that the bundle says: %v", err)
	}
}

// TestNotFinite has a network fail after the probe: what it leads to is no picture, and is not served as one.
func TestNotFinite(t *testing.T) {
	network := inferencetest.NewGaussian(t)
	p := serve(t, inferencetest.Bundle("ten", 8), network)
	network.After = func(out []float32) { out[0] = float32(math.NaN()) }
	if _, err := p.Generate(t.Context(), Request{Sampler: ptr("euler")}); KindOf(err) != Internal {
		t.Errorf("generate: %v", err)
	}
	if _, err := p.Denoise(t.Context(), DenoiseRequest{Sigma: ptr(20.0), Sampler: ptr("euler")}, grey(t, 8, 8, 9)); KindOf(err) != Internal {
		t.Errorf("denoise: %v", err)
	}
}

func TestCourseRefuses(t *testing.T) {
	p := serve(t, inferencetest.Bundle("ten", 8), inferencetest.NewGaussian(t))
	for _, c := range []struct {
		name string
		req  Request
		want string
	}{
		{"unknown schedule", Request{Schedule: ptr("cosine")},
			`schedule: "cosine" is not to be had here; allowed: native, karras, exponential, beta, sgm_uniform`},
		{"a schedule for even timesteps", Request{Sampler: ptr("pndm"), Schedule: ptr("karras")},
			`schedule: "karras" is not to be had here; allowed: native, sgm_uniform`},
		{"a schedule for a distilled sampler", Request{Sampler: ptr("lcm"), Steps: ptr(4), Schedule: ptr("sgm_uniform")},
			`schedule: "sgm_uniform" is not to be had here; allowed: native`},
		{"unknown spacing", Request{Spacing: ptr("even")}, `spacing: "even" is not to be had here; allowed: leading, trailing, linspace`},
		{"two spacings", Request{Schedule: ptr("sgm_uniform"), Spacing: ptr("leading")},
			`spacing: is "leading" beside the schedule sgm_uniform; allowed there: trailing`},
		{"a spacing for a distilled sampler", Request{Sampler: ptr("tcd"), Steps: ptr(4), Spacing: ptr("trailing")},
			"spacing: is not to be chosen: the sampler visits timesteps of the model's distillation"},
		{"an offset without leading", Request{StepsOffset: ptr(1)}, "steps_offset: goes with leading spacing, and this is trailing"},
		{"too large an offset", Request{Spacing: ptr("leading"), StepsOffset: ptr(1000)}, "steps_offset: is 1000; allowed: 0 to 999"},
		{"an offset beyond the schedule", Request{Spacing: ptr("leading"), StepsOffset: ptr(600), Steps: ptr(2)},
			"steps: 2 do not fit into the schedule with steps_offset 600; the next lower number that does is 1"},
		{"more steps than a distillation has", Request{Sampler: ptr("lcm"), Steps: ptr(51)},
			"steps: 51 do not fit into the schedule; allowed: 1 to 50"},
		{"a repeated level", Request{Timesteps: []float64{900, 500, 500}},
			"timesteps: have 500 after 500; each must be smaller than the one before"},
		{"levels out of order", Request{Timesteps: []float64{500, 900}},
			"timesteps: have 900 after 500; each must be smaller than the one before"},
		{"timesteps outside the schedule", Request{Timesteps: []float64{1000}}, "timesteps: have 1000; allowed: 0 to 999"},
		{"fractions for whole timesteps", Request{Timesteps: []float64{99.5}}, "timesteps: have 99.5; the sampler takes whole ones"},
		{"no timestep", Request{Timesteps: []float64{}}, "timesteps: are 0; allowed: 1 to 1000 of them"},
		{"an unknown schedule beside timesteps", Request{Timesteps: []float64{900}, Schedule: ptr("foo")},
			`schedule: "foo" is not to be had here; allowed: native, karras, exponential, beta, sgm_uniform`},
		{"another count of timesteps", Request{Timesteps: []float64{900, 10}, Steps: ptr(3)},
			"steps: is 3 beside 2 timesteps; allowed there: 2, or nothing"},
		{"rescaling without guidance", Request{GuidanceRescale: ptr(0.5)},
			"guidance_rescale: needs a label to guide to; allowed without one: 0"},
		{"too much rescaling", Request{Labels: []string{"1"}, GuidanceRescale: ptr(1.5)}, "guidance_rescale: is 1.5; allowed: 0 to 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := p.Resolve(c.req)
			if err == nil {
				t.Fatal("no error")
			}
			if got := strings.TrimPrefix(err.Error(), "the request cannot be served as it stands; "); got != c.want || KindOf(err) != Invalid {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// another gives the exact network's prediction in another form.
type another struct {
	*inferencetest.Gaussian
	kind     string
	schedule *diffusion.Schedule
}

func (n another) Predict(x []float32, shape [3]int, t []float32, labels []int64, out []float32) error {
	eps := make([]float32, len(x))
	if err := n.Gaussian.Predict(x, shape, t, labels, eps); err != nil {
		return err
	}
	size := len(x) / len(t)
	outputs := len(out) / len(x)
	for i, e := range eps {
		row := i / size
		at := n.schedule.Between(float64(t[row]))
		clean := (float64(x[i]) - at.Sigma*float64(e)) / at.Alpha
		// The variance that a network learns has channels of its own behind the others.
		if outputs == 2 {
			out[i+(row+1)*size] = -1
		}
		out[i+row*size*(outputs-1)] = float32(map[string]float64{
			"epsilon": float64(e), "v_prediction": at.Alpha*float64(e) - at.Sigma*clean, "sample": clean,
		}[n.kind])
	}
	return nil
}

// TestPredictionTypes draws the same picture with networks that predict different things, with a learned variance too,
// which here is always the smaller one.
func TestPredictionTypes(t *testing.T) {
	schedule, err := diffusion.NewSchedule(1000, diffusion.Betas{Name: "linear", Start: 1e-4, End: 0.02})
	if err != nil {
		t.Fatal(err)
	}
	var first []float32
	for _, c := range []struct {
		kind    string
		learned bool
	}{{"epsilon", false}, {"v_prediction", false}, {"sample", false}, {"epsilon", true}, {"v_prediction", true}} {
		b := inferencetest.Bundle("ten", 8)
		b.Scheduler.PredictionType, b.Defaults.Sampler = c.kind, "ddpm"
		if b.LearnedVariance = c.learned; c.learned {
			b.Scheduler.VarianceType = "learned_range"
		}
		p := serve(t, b, another{inferencetest.NewGaussian(t), c.kind, schedule})
		result := generate(t, p, Request{Labels: []string{"7"}, Seed: ptr(uint32(1)), Count: ptr(2)})
		drawn := slices.Concat(result.Images[0].Tensor, result.Images[1].Tensor)
		if first == nil {
			first = drawn
		}
		for i := range drawn {
			if diff := math.Abs(float64(drawn[i] - first[i])); !(diff < 1e-4) {
				t.Fatalf("%+v: value %d is %g, want %g", c, i, drawn[i], first[i])
			}
		}
	}
}

// TestEverySamplerServes draws and denoises with every sampler, as far as it can: a picture's noise is at a level that
// samplers with timesteps of their own cannot begin at.
func TestEverySamplerServes(t *testing.T) {
	p := serve(t, inferencetest.Bundle("ten", 8), inferencetest.NewGaussian(t))
	for _, name := range diffusion.Methods() {
		result := generate(t, p, Request{Sampler: ptr(name), Labels: []string{"5"}, Steps: ptr(12), Seed: ptr(uint32(1))})
		if mean := average(result.Images[0].Tensor); !(math.Abs(mean-0.5) < 0.2) {
			t.Errorf("%s draws a 5 with mean %g", name, mean)
		}
		req := DenoiseRequest{Sampler: ptr(name), Steps: ptr(5), Sigma: ptr(40.0), Seed: ptr(uint32(1))}
		changed, err := p.Denoise(t.Context(), req, grey(t, 8, 8, 128))
		_, method, _ := diffusion.MethodOf(name)
		if (err != nil) != method.FixedGrid {
			t.Errorf("%s: error %v", name, err)
		}
		if err != nil {
			continue
		}
		// The data without a label is N(0, 0.4²), which a grey of 128 of 255 is in the middle of.
		for _, v := range changed.Picture.Colours {
			if !(math.Abs(float64(v)-0.5) < 0.45) {
				t.Errorf("%s leaves %g of 128/255", name, v)
				break
			}
		}
	}
}

func average(values []float32) (mean float64) {
	for _, v := range values {
		mean += float64(v) / float64(len(values))
	}
	return mean
}
