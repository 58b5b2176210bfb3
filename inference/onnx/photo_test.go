package onnx_test

import (
	"fmt"
	"math"
	"testing"

	"denoised/inference"
	"denoised/inference/diffusion"
)

// scene is a picture with what photographs have: gradients, edges, a texture and flat parts.
func scene(height, width, channels int) *inference.Picture {
	p := &inference.Picture{Width: width, Height: height, Channels: channels, Colours: make([]float32, channels*height*width)}
	for i := range p.Colours {
		c, y, x := i/(height*width), float64(i/width%height), float64(i%width)
		v := 0.3 + 0.2*math.Sin(x/90+float64(c))*math.Cos(y/70)
		if math.Hypot(x-150, y-120) < 80 {
			v += 0.3
		}
		if math.Mod(x+y, 60) < 8 {
			v -= 0.15
		}
		if y > 180 {
			v += 0.06 * math.Sin(x/2+math.Sin(y/5)*3)
		}
		p.Colours[i] = float32(v)
	}
	return p
}

// noisy adds noise of a standard deviation on the 0…255 scale, neither clipped nor quantised.
func noisy(p *inference.Picture, sigma float64) *inference.Picture {
	changed := *p
	changed.Colours = make([]float32, len(p.Colours))
	diffusion.NewGenerator(1).Normal(changed.Colours)
	for i, v := range p.Colours {
		changed.Colours[i] = v + changed.Colours[i]*float32(sigma/255)
	}
	return &changed
}

// photographs serves the bundle photo as if its own size were side.
func photographs(t *testing.T, side int) *inference.Pipeline {
	t.Helper()
	bundle, session := open(t, "photo", 2)
	bundle.Height, bundle.Width = side, side
	model, err := inference.NewModel(bundle, session, 2, inference.Unobserved{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(model.Close)
	return inference.NewPipeline("test", inference.Limits{Steps: 1000, Count: 64, Pixels: 1 << 20}, model)
}

func denoise(t *testing.T, p *inference.Pipeline, picture *inference.Picture, sigma float64, steps int) []float32 {
	t.Helper()
	sent := *picture
	sent.Colours = append([]float32(nil), picture.Colours...)
	changed, err := p.Denoise(t.Context(), inference.DenoiseRequest{Sigma: &sigma, Steps: &steps}, &sent)
	if err != nil {
		t.Fatal(err)
	}
	return changed.Picture.Colours
}

// error8 is the root of the mean squared difference, on the 0…255 scale.
func error8(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]-b[i]) * 255
		sum += d * d
	}
	return math.Sqrt(sum / float64(len(a)))
}

// TestPhotoAnySize denoises pictures of every size, in colour and in grey: of noise of 25, at most 10 may be left where
// there are pixels enough to tell.
func TestPhotoAnySize(t *testing.T) {
	p := photographs(t, 384)
	for _, size := range [][2]int{{1, 1}, {7, 13}, {64, 64}, {333, 500}, {257, 520}} {
		for _, channels := range []int{1, 3} {
			t.Run(fmt.Sprintf("%v in %d channels", size, channels), func(t *testing.T) {
				clean := scene(size[0], size[1], channels)
				found := denoise(t, p, noisy(clean, 25), 25, 1)
				left, allowed := error8(found, clean.Colours), 10.0
				if size[0]*size[1] < 64*64 {
					allowed = 25
				}
				if len(found) != len(clean.Colours) || !(left < allowed) {
					t.Errorf("%d values, an error of %.2f", len(found), left)
				}
			})
		}
	}
}

// TestTilesDoNotShow compares tiles whose borders fall in different places with the picture taken as one: no pixel may
// differ by 1/255.
func TestTilesDoNotShow(t *testing.T) {
	whole, tiled, other := photographs(t, 704), photographs(t, 384), photographs(t, 448)
	for _, c := range []struct {
		sigma float64
		steps int
	}{{5, 1}, {25, 1}, {75, 1}, {50, 6}} {
		t.Run(fmt.Sprintf("σ %g in %d steps", c.sigma, c.steps), func(t *testing.T) {
			picture := noisy(scene(300, 700, 3), c.sigma)
			want := denoise(t, whole, picture, c.sigma, c.steps)
			for name, p := range map[string]*inference.Pipeline{"384": tiled, "448": other} {
				worst := 0.0
				for i, v := range denoise(t, p, picture, c.sigma, c.steps) {
					worst = max(worst, math.Abs(float64(v-want[i]))*255)
				}
				t.Logf("tiles of %s pixels: %.3f of 255", name, worst)
				if worst > 1 {
					t.Errorf("tiles of %s pixels differ by %.2f of 255", name, worst)
				}
			}
		})
	}
}
