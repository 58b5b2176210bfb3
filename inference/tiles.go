package inference

import (
	"context"
	"image"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"denoised/inference/diffusion"
)

// A cut divides one side of a picture into tiles of equal length, spread evenly from 0 to end, which is the picture's
// own or little beyond it. Neighbours overlap: what a network makes of a tile's rim lacks the pixels beyond it, so there
// the neighbour is taken, and amid the overlap one gives way to the other over a ramp.
type cut struct{ length, end, count, unit int }

const (
	mostOverlap = 128 // that is asked for; a network smaller than three times as much is asked for a third of its size
	ramp        = 16
	// grid is the multiple at which tiles begin where the network does not say what it shrinks its input by, so that it
	// sees the same pixels together in every tile.
	grid = 16
)

// cutSide divides n pixels for a network whose own size is own and that takes sizes which differ from it by multiples of
// step; 0 is none. No tile is longer than own.
func cutSide(n, own, step int) cut {
	c := cut{length: own, count: 1, unit: max(step, 1)}
	if step < 2 && own%grid == 0 {
		c.unit = grid
	}
	overlap := min(mostOverlap, max(own/3, min(2*step, own/2)))
	for c.unit > 1 && c.unit > overlap/2 { // or rounding to it would leave gaps
		c.unit /= 2
	}
	if n > own {
		c.count = (n - overlap + own - overlap - 1) / (own - overlap)
	}
	c.end = c.reach(n)
	if step == 0 {
		return c
	}
	for {
		shorter := c
		shorter.length -= step
		shorter.end = shorter.reach(n)
		if shorter.length < step || shorter.length+(c.count-1)*(shorter.length-overlap) < shorter.end {
			return c
		}
		c = shorter
	}
}

// reach is where the last tile ends so that it begins at a multiple of the unit.
func (c cut) reach(n int) int {
	return c.length + max(n-c.length+c.unit-1, 0)/c.unit*c.unit
}

// start is the first pixel of tile k. The tile behind the last one would begin at the end.
func (c cut) start(k int) int {
	switch k {
	case 0:
		return 0
	case c.count:
		return c.end
	}
	return (c.end - c.length) * k / (c.count - 1) / c.unit * c.unit
}

// weight is the share of tile k in its i-th pixel; that of its neighbours is what is left to 1.
func (c cut) weight(k, i int) float32 {
	at := c.start(k) + i
	return c.beyond(k, at) - c.beyond(k+1, at)
}

// beyond rises from 0 to 1 over the ramp between tile k−1 and tile k.
func (c cut) beyond(k, at int) float32 {
	switch k {
	case 0:
		return 1
	case c.count:
		return 0
	}
	shared := c.start(k-1) + c.length - c.start(k)
	width := min(ramp, shared)
	first := c.start(k) + (shared-width)/2
	return min(max((float32(at-first)+0.5)/float32(width), 0), 1)
}

// A tiling evaluates a function of pictures on overlapping tiles and blends what it gives. The tiles of a row are
// evaluated side by side, so that they share runs of the network, and blended in their order, so that the result keeps
// its bits.
type tiling struct {
	height, width int
	rows, columns cut
}

func (m *Model) tiling(height, width int) tiling {
	return tiling{height, width, cutSide(height, m.Bundle.Height, m.SizeStep), cutSide(width, m.Bundle.Width, m.SizeStep)}
}

// wide says whether the picture is swept along its width.
func (t tiling) wide() bool { return t.width > t.height }

// shape is a tile's, for a network of so many channels.
func (t tiling) shape(channels int) [3]int { return [3]int{channels, t.rows.length, t.columns.length} }

// An evaluator gives the function's values on the tile whose first pixel is (top, left), [planes, height, width] of a tile.
// The tile may reach beyond the picture. The slice is the evaluator's own and holds until its next call.
type evaluator func(ctx context.Context, top, left int) ([]float32, error)

// sweep evaluates the tiles, each at one of the evaluators, across the picture's shorter side and then on along the longer
// one, and hands over the parts of the picture that are finished, one behind the other: of each plane and line in the part,
// the values from its first column to its last. They are lent. A part that was handed over is not asked for again, so a
// picture can be written over.
func (t tiling) sweep(ctx context.Context, planes int, evaluators []evaluator, hand func(part image.Rectangle, line func(plane, y int) []float32)) error {
	wide := t.wide()
	along, side, size := t.rows, t.columns, image.Pt(t.width, t.rows.length)
	if wide {
		along, side, size = t.columns, t.rows, image.Pt(t.columns.length, t.height)
	}
	tiles := make([][]float32, side.count)
	b := band{size: size, values: make([]float32, planes*size.X*size.Y)}
	for i := range along.count {
		places := make([]place, side.count)
		for j := range places {
			places[j] = place{i, j}
			if wide {
				places[j] = place{j, i}
			}
		}
		if err := t.evaluate(ctx, places, evaluators, tiles); err != nil {
			return err
		}
		for j, tile := range tiles {
			t.blend(b, tile, places[j])
		}
		first, next := along.start(i), along.start(i+1)
		part := image.Rect(0, first, t.width, min(next, t.height))
		shift := image.Pt(0, next-first)
		if wide {
			part = image.Rect(first, 0, min(next, t.width), t.height)
			shift = image.Pt(next-first, 0)
		}
		hand(part, func(plane, y int) []float32 {
			return b.line(plane, y-b.origin.Y)[part.Min.X-b.origin.X : part.Max.X-b.origin.X]
		})
		b.move(shift)
	}
	return nil
}

// A place is a tile's, by its row and column.
type place struct{ row, column int }

// A band is the part of a picture on which tiles are being blended, [planes, height, width].
type band struct {
	origin, size image.Point
	values       []float32
}

func (b *band) line(plane, y int) []float32 {
	return b.values[(plane*b.size.Y+y)*b.size.X:][:b.size.X]
}

// move takes the band on: what it still covers stays, the rest is empty again.
func (b *band) move(by image.Point) {
	b.origin = b.origin.Add(by)
	for plane := range len(b.values) / (b.size.X * b.size.Y) {
		for y := range b.size.Y {
			line := b.line(plane, y)
			kept := 0
			if y+by.Y < b.size.Y {
				kept = copy(line, b.line(plane, y+by.Y)[min(by.X, b.size.X):])
			}
			clear(line[kept:])
		}
	}
}

// evaluate fills tiles with the values at the places.
func (t tiling) evaluate(ctx context.Context, places []place, evaluators []evaluator, tiles [][]float32) error {
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for _, evaluate := range evaluators {
		group.Go(func() error {
			for k := int(next.Add(1)) - 1; k < len(tiles); k = int(next.Add(1)) - 1 {
				values, err := evaluate(ctx, t.rows.start(places[k].row), t.columns.start(places[k].column))
				if err != nil {
					return err
				}
				tiles[k] = append(tiles[k][:0], values...)
			}
			return nil
		})
	}
	return group.Wait()
}

// blend adds a tile's share to the band.
func (t tiling) blend(b band, tile []float32, at place) {
	top, left := t.rows.start(at.row)-b.origin.Y, t.columns.start(at.column)-b.origin.X
	across := make([]float32, min(b.size.X-left, t.columns.length))
	for j := range across {
		across[j] = t.columns.weight(at.column, j)
	}
	for i := range len(tile) / t.columns.length {
		plane, y := i/t.rows.length, i%t.rows.length
		if top+y >= b.size.Y {
			continue // beyond the picture
		}
		down := t.rows.weight(at.row, y)
		line, values := b.line(plane, top+y)[left:], tile[i*t.columns.length:]
		for j, share := range across {
			line[j] += float32(float32(down*share) * values[j])
		}
	}
}

// crop copies a tile out of planes [planes, height, width]. Beyond the picture its last pixels go on.
func (t tiling) crop(dst, planes []float32, top, left int) {
	i := 0
	for from := 0; from < len(planes); from += t.height * t.width {
		for y := range t.rows.length {
			line := planes[from+min(top+y, t.height-1)*t.width:][:t.width]
			for x := range t.columns.length {
				dst[i] = line[min(left+x, t.width-1)]
				i++
			}
		}
	}
}

// predictor evaluates the network for whole states of any size, at seats that each have a tile's shape.
func (t tiling) predictor(m *Model, seats []*Seat) diffusion.Predictor {
	channels := m.Bundle.Channels
	planes := channels * outputs(m.Bundle)
	out := make([]float32, planes*t.height*t.width)
	return func(ctx context.Context, x []float32, step float64) ([]float32, error) {
		evaluators := make([]evaluator, len(seats))
		for i, seat := range seats {
			tile := make([]float32, channels*t.rows.length*t.columns.length)
			predict := m.unlabelled(seat)
			evaluators[i] = func(ctx context.Context, top, left int) ([]float32, error) {
				t.crop(tile, x, top, left)
				return predict(ctx, tile, step)
			}
		}
		return out, t.sweep(ctx, planes, evaluators, t.into(out))
	}
}

// into takes over the parts that a sweep hands over.
func (t tiling) into(planes []float32) func(image.Rectangle, func(plane, y int) []float32) {
	return func(part image.Rectangle, line func(plane, y int) []float32) {
		for plane := range len(planes) / (t.height * t.width) {
			for y := part.Min.Y; y < part.Max.Y; y++ {
				copy(planes[(plane*t.height+y)*t.width+part.Min.X:], line(plane, y))
			}
		}
	}
}

// seats joins the engine once for each tile that is evaluated side by side: a run's, and one to be made ready meanwhile.
func (t tiling) seats(m *Model) []*Seat {
	across := t.columns.count
	if t.wide() {
		across = t.rows.count
	}
	seats := make([]*Seat, min(across, m.MaxRows+1))
	for i := range seats {
		seats[i] = m.engine.Join(t.shape(m.Bundle.Channels), 1)
	}
	return seats
}
