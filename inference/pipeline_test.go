package inference

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"denoised/inference/diffusion"
	"denoised/inference/inferencetest"
	"denoised/weights"
)

func generate(t *testing.T, p *Pipeline, req Request) *Result {
	t.Helper()
	result, err := p.Generate(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func pngOf(t *testing.T, image Image) []byte {
	t.Helper()
	file, err := image.PNG()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func mean(values []float32) float64 {
	sum := 0.0
	for _, v := range values {
		sum += float64(v)
	}
	return sum / float64(len(values))
}

// TestGenerateDrawsTheClass draws from the exact network: class n has the mean n/10, none has the mean 0.
func TestGenerateDrawsTheClass(t *testing.T) {
	p := serve(t, inferencetest.Bundle("ten", 8), inferencetest.NewGaussian(t))
	for _, c := range []struct {
		labels []string
		want   float64
	}{{nil, 0}, {[]string{"0"}, 0}, {[]string{"5"}, 0.5}, {[]string{"9"}, 0.9}} {
		result := generate(t, p, Request{Labels: c.labels, Count: ptr(16), Seed: ptr(uint32(1)), Steps: ptr(50), GuidanceScale: guidanceFor(c.labels)})
		var all []float32
		for _, image := range result.Images {
			all = append(all, image.Tensor...)
		}
		// Clipping at 1 takes a little from the highest class.
		if got := mean(all); math.Abs(got-c.want) > 0.05 {
			t.Errorf("label %v: mean %.3f, want %.1f", c.labels, got, c.want)
		}
	}
}

func guidanceFor(labels []string) *float64 {
	if labels == nil {
		return nil
	}
	return ptr(1.0)
}

// TestImagesOfARequest checks that image i has seed+i and its label in turn, and is byte-equal to its own request.
func TestImagesOfARequest(t *testing.T) {
	p := serve(t, inferencetest.Bundle("ten", 8), inferencetest.NewGaussian(t))
	result := generate(t, p, Request{Labels: []string{"3", "8"}, Count: ptr(3), Seed: ptr(uint32(math.MaxUint32)), Sampler: ptr("ddpm")})
	for i, want := range []struct {
		seed  uint32
		label string
	}{{math.MaxUint32, "3"}, {0, "8"}, {1, "3"}} {
		image := result.Images[i]
		if image.Recipe.Seed != want.seed || image.Recipe.Labels[0] != want.label || image.Recipe.Count != 1 {
			t.Errorf("image %d has the recipe %+v, want seed %d and label %s", i, image.Recipe, want.seed, want.label)
		}
		alone := generate(t, p, Request{Labels: []string{want.label}, Seed: &want.seed, Sampler: ptr("ddpm")})
		if !bytes.Equal(pngOf(t, image), pngOf(t, alone.Images[0])) {
			t.Errorf("image %d differs from its own request", i)
		}
	}
}

// TestSameBytesAmongStrangers is the first promise: a request draws the same bytes alone and among thirty others.
func TestSameBytesAmongStrangers(t *testing.T) {
	network := inferencetest.NewGaussian(t)
	p := serve(t, inferencetest.Bundle("ten", 8), network)
	request := Request{Labels: []string{"4"}, Seed: ptr(uint32(5)), Sampler: ptr("ddim"), Eta: ptr(0.5), Steps: ptr(30)}
	alone := pngOf(t, generate(t, p, request).Images[0])
	network.Before = func(int) error { time.Sleep(100 * time.Microsecond); return nil }
	var group sync.WaitGroup
	for i := range 30 {
		group.Go(func() {
			stranger := Request{Seed: ptr(uint32(i)), Steps: ptr(5 + 3*i), Sampler: ptr([]string{"ddpm", "ddim", "euler"}[i%3])}
			if i%4 != 0 {
				stranger.Labels = []string{fmt.Sprint(i % 10)}
			}
			if _, err := p.Generate(t.Context(), stranger); err != nil {
				t.Error(err)
			}
		})
	}
	for range 3 {
		if !bytes.Equal(alone, pngOf(t, generate(t, p, request).Images[0])) {
			t.Error("the picture depends on who else is there")
		}
	}
	group.Wait()
	if most := network.MostRows(); most < 8 {
		t.Errorf("no run had more than %d rows: the strangers never shared one", most)
	}
}

func TestGenerateStopsWithItsClient(t *testing.T) {
	network := inferencetest.NewGaussian(t)
	observer := &ledger{}
	m, err := NewModel(inferencetest.Bundle("ten", 8), network, 8, observer)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	network.Before = func(int) error { time.Sleep(time.Millisecond); return nil }
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = NewPipeline("test", limits, m).Generate(ctx, Request{Count: ptr(4), Steps: ptr(1000)})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	rows, _, trajectories := observer.read()
	if trajectories != 0 {
		t.Errorf("%d trajectories are left", trajectories)
	}
	time.Sleep(10 * time.Millisecond)
	if later, _, _ := observer.read(); later != rows || later >= 4000 {
		t.Errorf("%d rows were computed, %d of them after the client had gone", later, later-rows)
	}
}

func TestGenerateReportsTheNetworksFault(t *testing.T) {
	network := inferencetest.NewGaussian(t)
	p := serve(t, inferencetest.Bundle("ten", 8), network)
	network.Before = func(int) error { return errBroken }
	if _, err := p.Generate(t.Context(), Request{Count: ptr(3)}); KindOf(err) != Internal || !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
}

// TestGenerateRefuses has one fault a request, and the exact sentence that it is answered with.
func TestGenerateRefuses(t *testing.T) {
	conditional, unguided, plain := inferencetest.Bundle("ten", 8), inferencetest.Bundle("ten", 8), inferencetest.Bundle("ten", 8)
	unguided.Name, unguided.NullLabel, unguided.Defaults.GuidanceScale = "unguided", -1, 1
	plain.Name, plain.Labels, plain.NullLabel, plain.Graph.Label, plain.Defaults.GuidanceScale = "plain", nil, -1, nil, 1
	var models []*Model
	for _, b := range []*weights.Bundle{conditional, unguided, plain} {
		m, err := NewModel(b, inferencetest.NewGaussian(t), 8, Unobserved{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		models = append(models, m)
	}
	p := NewPipeline("test", limits, models...)
	samplers := strings.Join(diffusion.Methods(), ", ")
	const digits = "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
	for _, c := range []struct {
		name string
		req  Request
		want string
	}{
		{"no such model", Request{Model: ptr("eleven")}, `no model is called "eleven"; served: ten, unguided, plain`},
		{"no image", Request{Count: ptr(0)}, "count: is 0; allowed: 1 to 64"},
		{"too many images", Request{Count: ptr(65)}, "count: is 65; allowed: 1 to 64"},
		{"negative steps", Request{Steps: ptr(-4)}, "steps: is -4; allowed: 1 to 1000"},
		{"too many steps", Request{Steps: ptr(1001)}, "steps: is 1001; allowed: 1 to 1000"},
		{"unknown sampler", Request{Sampler: ptr("ddmp")}, `sampler: "ddmp" is unknown; allowed: ` + samplers},
		{"unknown label", Request{Labels: []string{"seven"}}, `label: "seven" is unknown; allowed: ` + digits},
		{"more labels than images", Request{Labels: []string{"1", "2"}}, "label: lists 2 labels for 1 images; allowed: at most one an image"},
		{"label without classes", Request{Model: ptr("plain"), Labels: []string{"1"}}, "label: the model plain has no classes"},
		{"no label without a null label", Request{Model: ptr("unguided")}, "label: the model unguided draws classes only; allowed: " + digits},
		{"eta without use", Request{Sampler: ptr("euler"), Eta: ptr(0.5)}, "eta: the sampler euler has none"},
		{"eta too large", Request{Eta: ptr(1.5)}, "eta: is 1.5; allowed: 0 to 1"},
		{"not a number", Request{Eta: ptr(math.NaN())}, "eta: is NaN; allowed: 0 to 1"},
		{"guidance too large", Request{Labels: []string{"1"}, GuidanceScale: ptr(31.0)}, "guidance_scale: is 31; allowed: 0 to 30"},
		{"guidance to nothing", Request{GuidanceScale: ptr(2.0)}, "guidance_scale: needs a label to guide to; allowed without one: 1"},
		{"guidance without a null label", Request{Model: ptr("unguided"), Labels: []string{"1"}, GuidanceScale: ptr(2.0)},
			"guidance_scale: the model unguided cannot be guided: it needs classes and a null label; allowed: 1"},
		{"another size", Request{Size: &[2]int{16, 8}}, "size: is 16×8; the model ten serves 8×8 only"},
		{"scale", Request{Scale: ptr(17)}, "scale: is 17; allowed: 1 to 16"},
		{"two faults", Request{Count: ptr(0), Steps: ptr(0)}, "count: is 0; allowed: 1 to 64; steps: is 0; allowed: 1 to 1000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := p.Generate(t.Context(), c.req)
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.TrimPrefix(err.Error(), "the request cannot be served as it stands; ")
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			want := Invalid
			if c.name == "no such model" {
				want = NotFound
			}
			if KindOf(err) != want {
				t.Errorf("kind %v", KindOf(err))
			}
		})
	}
}

// TestSizes has a network that takes any multiple of four.
func TestSizes(t *testing.T) {
	b := inferencetest.Bundle("ten", 8)
	b.Graph.Sample.Shape = []int64{-1, 1, -1, -1}
	network := inferencetest.NewGaussian(t)
	m, err := NewModel(b, fourfold{network}, 8, Unobserved{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if m.SizeStep != 4 {
		t.Fatalf("the probe found sizes in steps of %d", m.SizeStep)
	}
	p := NewPipeline("test", limits, m)
	result := generate(t, p, Request{Size: &[2]int{12, 4}})
	if got := result.Images[0].Shape; got != [3]int{1, 12, 4} {
		t.Errorf("shape %v", got)
	}
	_, err = p.Generate(t.Context(), Request{Size: &[2]int{10, 8}})
	if want := "size: is 10×8; the model ten serves 8×8 and sizes that differ from it by multiples of 4"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error %v", err)
	}
	for _, size := range [][2]int{{36, 32}, {1 << 32, 1 << 32}, {-8, -8}} {
		_, err = p.Generate(t.Context(), Request{Size: &size})
		if want := "; the model ten serves at most 1024 pixels, 16 times its own"; err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("size %v: error %v", size, err)
		}
	}
	small := NewPipeline("test", Limits{Steps: 1000, Count: 64, Pixels: 1 << 16}, m)
	_, err = small.Generate(t.Context(), Request{Size: &[2]int{32, 32}, Scale: ptr(16)})
	if want := "size: gives a picture of 262144 pixels; allowed: at most 65536"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error %v", err)
	}
}

type fourfold struct{ *inferencetest.Gaussian }

func (f fourfold) Predict(x []float32, shape [3]int, t []float32, labels []int64, out []float32) error {
	if shape[1]%4 != 0 || shape[2]%4 != 0 {
		return errBroken
	}
	return f.Gaussian.Predict(x, shape, t, labels, out)
}

func TestProbe(t *testing.T) {
	frozen := func(rows int) error {
		if rows > 1 {
			return errBroken
		}
		return nil
	}
	for _, c := range []struct {
		name   string
		change func(*weights.Bundle, *inferencetest.Gaussian)
		want   Capabilities
		err    string
	}{
		{"free batch", func(*weights.Bundle, *inferencetest.Gaussian) {}, Capabilities{MaxRows: 8, Bitwise: true}, ""},
		{"fixed batch", func(b *weights.Bundle, _ *inferencetest.Gaussian) { b.Graph.Sample.Shape[0] = 1 }, Capabilities{MaxRows: 1, Bitwise: true}, ""},
		{"a fixed batch of several", func(b *weights.Bundle, _ *inferencetest.Gaussian) { b.Graph.Sample.Shape[0] = 4 },
			Capabilities{}, "ten: the network takes exactly 4 rows a run; served: any number of rows, or one"},
		{"a batch that is free in name only", func(_ *weights.Bundle, g *inferencetest.Gaussian) { g.Before = frozen }, Capabilities{MaxRows: 1, Bitwise: true}, ""},
		{"bits that depend on the batch", func(_ *weights.Bundle, g *inferencetest.Gaussian) {
			g.After = func(out []float32) { out[0] += float32(len(out)) * 1e-6 }
		}, Capabilities{MaxRows: 8}, ""},
		{"a broken network", func(_ *weights.Bundle, g *inferencetest.Gaussian) { g.Before = func(int) error { return errBroken } },
			Capabilities{}, "ten: the network fails on a batch of 1 at 8×8: broken"},
		{"values that are not finite", func(_ *weights.Bundle, g *inferencetest.Gaussian) {
			g.After = func(out []float32) { out[3] = notFinite }
		},
			Capabilities{}, "ten: the network gives values that are not finite"},
		{"an unknown default sampler", func(b *weights.Bundle, _ *inferencetest.Gaussian) { b.Defaults.Sampler = "best" },
			Capabilities{}, `ten: the default sampler "best" is not one of ` + fmt.Sprint(diffusion.Methods())},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, network := inferencetest.Bundle("ten", 8), inferencetest.NewGaussian(t)
			c.change(b, network)
			m, err := NewModel(b, network, 8, Unobserved{})
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			if m.Capabilities != c.want {
				t.Errorf("found %+v, want %+v", m.Capabilities, c.want)
			}
		})
	}
}

// TestClippingActsWhereDiffusersHasIt draws the highest class, whose data often leaves [−1, 1]: DDPM and DDIM clip x̂₀ where
// the scheduler's config says so, and Euler's method never does.
func TestClippingActsWhereDiffusersHasIt(t *testing.T) {
	for _, c := range []struct {
		sampler string
		clips   bool
	}{{"ddpm", true}, {"ddim", true}, {"euler", false}} {
		draw := func(clip bool) []float32 {
			b := inferencetest.Bundle("ten", 8)
			b.Scheduler.ClipSample, b.Scheduler.UseClippedModelOutput = &clip, clip
			return generate(t, serve(t, b, inferencetest.NewGaussian(t)),
				Request{Labels: []string{"9"}, Seed: ptr(uint32(1)), Sampler: &c.sampler}).Images[0].Tensor
		}
		clipped, free := draw(true), draw(false)
		if differ := !slices.Equal(clipped, free); differ != c.clips {
			t.Errorf("%s: clipping changes the picture: %t", c.sampler, differ)
		}
		if inside := slices.Max(clipped) <= 1; inside != c.clips {
			t.Errorf("%s: the largest value is %g", c.sampler, slices.Max(clipped))
		}
	}
}
