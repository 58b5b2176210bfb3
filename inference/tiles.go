package inference

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"denoised/inference/diffusion"
)

// A cut divides one side of a picture into tiles of equal length that begin every stride pixels. Neighbours share overlap
// pixels: what a network makes of a tile's rim lacks the pixels beyond it, and there the neighbour takes over little by
// little. The last tile may reach beyond the picture.
type cut struct{ length, overlap, count int }

const (
	mostOverlap = 64
	// grid is the multiple at which tiles begin, so that a network that shrinks its input sees the same pixels together
	// in every tile.
	grid = 16
)

// cutSide divides n pixels for a network whose own size is own and that takes sizes which differ from it by multiples of
// step; 0 is none. No tile is longer than own.
func cutSide(n, own, step int) cut {
	c := cut{length: own, overlap: min(mostOverlap, own/4), count: 1}
	if n > own {
		stride := own - c.overlap
		c.count = (n - c.overlap + stride - 1) / stride
	}
	if step == 0 {
		return c
	}
	by := step
	for c.count > 1 && own%grid == 0 && by%grid != 0 {
		by += step
	}
	for least := max(step, 1); c.length-by >= least && c.reach(c.length-by) >= n; {
		c.length -= by
	}
	return c
}

// reach is how far tiles of another length go.
func (c cut) reach(length int) int { return length + (c.count-1)*(length-c.overlap) }

func (c cut) stride() int { return c.length - c.overlap }

// weight is the share of tile k in its i-th pixel: it rises and falls where the tile meets its neighbours, and theirs is
// what is left to 1.
func (c cut) weight(k, i int) float32 {
	switch {
	case k > 0 && i < c.overlap:
		return (float32(i) + 0.5) / float32(c.overlap)
	case k < c.count-1 && i >= c.stride():
		return 1 - (float32(i-c.stride())+0.5)/float32(c.overlap)
	}
	return 1
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

// shape is a tile's, for a network of so many channels.
func (t tiling) shape(channels int) [3]int { return [3]int{channels, t.rows.length, t.columns.length} }

// An evaluator gives the function's values on the tile whose first pixel is (top, left), [planes, height, width] of a tile.
// The tile may reach beyond the picture. The slice is the evaluator's own and holds until its next call.
type evaluator func(ctx context.Context, top, left int) ([]float32, error)

// sweep evaluates the tiles row by row, each at one of the evaluators, and hands over the blended lines of each plane, count
// of them from first on, top to bottom. They are lent. Lines that were handed over are not asked for again, so a picture
// can be written over.
func (t tiling) sweep(ctx context.Context, planes int, evaluators []evaluator, hand func(first, count int, lines func(plane int) []float32)) error {
	tiles := make([][]float32, t.columns.count)
	band := make([]float32, planes*t.rows.length*t.width)
	for r := range t.rows.count {
		if err := t.evaluate(ctx, r*t.rows.stride(), evaluators, tiles); err != nil {
			return err
		}
		for k, tile := range tiles {
			t.blend(band, tile, r, k)
		}
		first, last := r*t.rows.stride(), r == t.rows.count-1
		count := t.rows.stride()
		if last {
			count = t.height - first
		}
		hand(first, count, func(plane int) []float32 {
			from := plane * t.rows.length * t.width
			return band[from : from+count*t.width]
		})
		if !last {
			t.carry(band)
		}
	}
	return nil
}

// evaluate fills tiles with the values of a row of them.
func (t tiling) evaluate(ctx context.Context, top int, evaluators []evaluator, tiles [][]float32) error {
	group, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for _, evaluate := range evaluators {
		group.Go(func() error {
			for k := int(next.Add(1)) - 1; k < len(tiles); k = int(next.Add(1)) - 1 {
				values, err := evaluate(ctx, top, k*t.columns.stride())
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

// blend adds tile k of row r to the row's band, [planes, height of a tile, width of the picture].
func (t tiling) blend(band, tile []float32, r, k int) {
	left := k * t.columns.stride()
	for i := range len(tile) / t.columns.length {
		down := t.rows.weight(r, i%t.rows.length)
		line, values := band[i*t.width+left:(i+1)*t.width], tile[i*t.columns.length:]
		for j := range min(len(line), t.columns.length) {
			line[j] += float32(float32(down*t.columns.weight(k, j)) * values[j])
		}
	}
}

// carry moves the band to the next row: what overlaps it stays, the rest is empty again.
func (t tiling) carry(band []float32) {
	size := t.rows.length * t.width
	for from := 0; from < len(band); from += size {
		plane := band[from : from+size]
		kept := copy(plane, plane[t.rows.stride()*t.width:])
		clear(plane[kept:])
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

// into takes over the lines that a sweep hands over.
func (t tiling) into(planes []float32) func(first, count int, lines func(int) []float32) {
	return func(first, _ int, lines func(int) []float32) {
		for plane := range len(planes) / (t.height * t.width) {
			copy(planes[(plane*t.height+first)*t.width:], lines(plane))
		}
	}
}

// seats joins the engine as often as tiles can be evaluated side by side.
func (t tiling) seats(m *Model) []*Seat {
	seats := make([]*Seat, min(t.columns.count, m.MaxRows))
	for i := range seats {
		seats[i] = m.engine.Join(t.shape(m.Bundle.Channels), 1)
	}
	return seats
}
