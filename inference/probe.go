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
	if rows := b.Graph.Sample.Shape[0]; rows > 1 {
		return Capabilities{}, fmt.Errorf("the network takes exactly %d rows a run; served: any number of rows, or one", rows)
	}
	own := [3]int{b.Channels, b.Height, b.Width}
	if _, err := p.predict(own, 0, 1); err != nil {
		return Capabilities{}, err
	}
	found := Capabilities{MaxRows: 1, Bitwise: true}
	if b.Graph.Sample.Shape[0] == -1 && maxRows > 1 {
		for _, rows := range slices.Compact([]int{min(2, maxRows), min(3, maxRows), maxRows}) {
			together, err := p.predict(own, 0, rows)
			if err != nil {
				// The graph declares a free batch axis and is frozen all the same.
				break
			}
			found.MaxRows = rows
			same, err := p.sameAlone(own, together, rows)
			if err != nil {
				return Capabilities{}, err
			}
			found.Bitwise = found.Bitwise && same
		}
	}
	if b.Graph.Sample.Shape[2] == -1 && b.Graph.Sample.Shape[3] == -1 {
		for _, step := range sizeSteps {
			if _, err := p.predict([3]int{b.Channels, b.Height + step, b.Width + step}, 0, 1); err == nil {
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

// sameAlone says whether the first, the middle and the last row of a batch have the bits that they have alone.
func (p prober) sameAlone(shape [3]int, together []float32, rows int) (bool, error) {
	size := len(together) / rows
	for _, i := range slices.Compact([]int{0, rows / 2, rows - 1}) {
		alone, err := p.predict(shape, i, 1)
		if err != nil {
			return false, err
		}
		if !slices.Equal(alone, together[i*size:(i+1)*size]) {
			return false, nil
		}
	}
	return true, nil
}

// predict evaluates rows of noise, counted from first on. Row i is the same in every call of one shape; its neighbours
// differ from it in timestep and label too, where the network lets them.
func (p prober) predict(shape [3]int, first, rows int) ([]float32, error) {
	size := shape[0] * shape[1] * shape[2]
	x := make([]float32, rows*size)
	out := make([]float32, rows*size*outputs(p.bundle))
	t := make([]float32, rows)
	labels := make([]int64, rows)
	for i := range rows {
		number := first + i
		diffusion.NewGenerator(uint32(number)).Normal(x[i*size : (i+1)*size])
		t[i] = float32(p.bundle.Scheduler.TrainTimesteps / 2)
		if !oneTimestep(p.bundle) {
			t[i] -= float32(number % 2)
		}
		if n := len(p.bundle.Labels); n > 0 {
			labels[i] = int64(number % n)
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
