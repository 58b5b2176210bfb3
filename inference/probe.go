package inference

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"denoised/inference/diffusion"
	"denoised/weights"
)

// Capabilities is what a loaded network was found to do.
type Capabilities struct {
	MaxRows  int  // rows that one run takes
	SizeStep int  // height and width may differ from the model's own by multiples of this; 0: they are fixed
	Bitwise  bool // a row keeps its bits, whatever else is in its batch
}

// sizeSteps are the factors by which networks commonly shrink their input.
var sizeSteps = []int{1, 2, 4, 8, 16, 32, 64}

// probe runs the network on noise. maxRows is what the caller would like a run to take. The error says why the network
// cannot be served.
func probe(b *weights.Bundle, network Network, maxRows int) (Capabilities, error) {
	p := prober{bundle: b, network: network}
	own := [3]int{b.Channels, b.Height, b.Width}
	alone, err := p.predict(own, 1)
	if err != nil {
		return Capabilities{}, err
	}
	found := Capabilities{MaxRows: 1, Bitwise: true}
	if b.Graph.Sample.Shape[0] == -1 && maxRows > 1 {
		for _, rows := range []int{2, maxRows} {
			together, err := p.predict(own, rows)
			if err != nil {
				// The graph declares a free batch axis and is frozen all the same.
				break
			}
			found.MaxRows = rows
			found.Bitwise = found.Bitwise && slices.Equal(alone, together[:len(alone)])
		}
	}
	if b.Graph.Sample.Shape[2] == -1 && b.Graph.Sample.Shape[3] == -1 {
		for _, step := range sizeSteps {
			if _, err := p.predict([3]int{b.Channels, b.Height + step, b.Width + step}, 1); err == nil {
				found.SizeStep = step
				break
			}
		}
	}
	return found, nil
}

type prober struct {
	bundle  *weights.Bundle
	network Network
}

// predict evaluates rows rows of noise. Row i is the same in every call of one shape; its neighbours differ from it in
// timestep and label too, where the network lets them.
func (p prober) predict(shape [3]int, rows int) ([]float32, error) {
	size := shape[0] * shape[1] * shape[2]
	x := make([]float32, rows*size)
	out := make([]float32, rows*size)
	t := make([]float32, rows)
	labels := make([]int64, rows)
	for i := range rows {
		diffusion.NewGenerator(uint32(i)).Normal(x[i*size : (i+1)*size])
		t[i] = float32(p.bundle.Scheduler.TrainTimesteps / 2)
		if !oneTimestep(p.bundle) {
			t[i] -= float32(i % 2)
		}
		if n := len(p.bundle.Labels); n > 0 {
			labels[i] = int64(i % n)
		}
	}
	for i := range out {
		out[i] = float32(math.NaN())
	}
	if err := p.network.Predict(x, shape, t, labels, out); err != nil {
		return nil, fmt.Errorf("the network fails on a batch of %d at %d×%d: %w", rows, shape[1], shape[2], err)
	}
	for _, v := range out {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return nil, errors.New("the network gives values that are not finite")
		}
	}
	return out, nil
}

// oneTimestep says whether all rows of a run share a timestep: the graph has a place for one only.
func oneTimestep(b *weights.Bundle) bool {
	shape := b.Graph.Timestep.Shape
	return len(shape) == 0 || shape[0] == 1
}
