package inference

import (
	"context"
	"fmt"
	"image"
	"math"
	"runtime"
	"testing"
)

// TestCutSide covers every pixel, with tiles that the network takes and that begin where it can tell no difference.
func TestCutSide(t *testing.T) {
	for _, c := range []struct {
		n, own, step int
		want         cut
	}{
		{1, 256, 1, cut{1, 1, 1, 16}},
		{7, 256, 4, cut{8, 8, 1, 4}},
		{2, 28, 4, cut{4, 4, 1, 4}},
		{256, 256, 1, cut{256, 256, 1, 16}},
		{257, 256, 1, cut{177, 257, 2, 16}},
		{500, 256, 8, cut{232, 504, 3, 8}},
		{100, 256, 0, cut{256, 256, 1, 16}},
		{300, 256, 0, cut{256, 304, 2, 16}},
		{56, 28, 4, cut{28, 56, 3, 4}},
	} {
		got := cutSide(c.n, c.own, c.step)
		if got != c.want {
			t.Errorf("%d pixels, own %d, step %d: %+v, want %+v", c.n, c.own, c.step, got, c.want)
		}
	}
	for n := 1; n < 2000; n += 13 {
		for _, own := range []int{1, 5, 28, 40, 64, 256, 384, 500} {
			for _, step := range []int{0, 1, 4, 8, 64} {
				c := cutSide(n, own, step)
				if c.end < n || c.length > own || c.length < 1 || step > 0 && (own-c.length)%step != 0 {
					t.Fatalf("%d pixels, own %d, step %d: %+v", n, own, step, c)
				}
				if last := c.start(c.count-1) + c.length; last != c.end {
					t.Fatalf("%d pixels, own %d, step %d: %+v reach to %d", n, own, step, c, last)
				}
				for k := 1; k < c.count; k++ {
					shared := c.start(k-1) + c.length - c.start(k)
					if c.start(k)%c.unit != 0 || own >= 28 && shared < 1 || own >= 384 && shared < mostOverlap-c.unit {
						t.Fatalf("%d pixels, own %d, step %d: tile %d of %+v begins at %d and shares %d", n, own, step, k, c, c.start(k), shared)
					}
				}
			}
		}
	}
}

// TestTileRimsAreLeftOut: where two large tiles overlap, neither counts near its own rim.
func TestTileRimsAreLeftOut(t *testing.T) {
	c := cutSide(1000, 384, 8)
	for k := 1; k < c.count; k++ {
		for i := range 52 {
			if w := c.weight(k, i); w != 0 {
				t.Errorf("tile %d has the share %g in its pixel %d", k, w, i)
			}
			if w := c.weight(k-1, c.length-1-i); w != 0 {
				t.Errorf("tile %d has the share %g in the pixel %d before its end", k-1, w, i)
			}
		}
	}
}

// TestThinPictures: a line of a million pixels takes no more memory than its tiles.
func TestThinPictures(t *testing.T) {
	const long, most = 1_000_000, 64 << 20
	for _, size := range [][2]int{{1, long}, {long, 1}} {
		tiles := tiling{size[0], size[1], cutSide(size[0], 256, 8), cutSide(size[1], 256, 8)}
		tile := make([]float32, tiles.rows.length*tiles.columns.length)
		nothing := func(context.Context, int, int) ([]float32, error) { return tile, nil }
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := tiles.sweep(t.Context(), 1, []evaluator{nothing}, func(image.Rectangle, func(int, int) []float32) {})
		runtime.ReadMemStats(&after)
		if took := after.TotalAlloc - before.TotalAlloc; err != nil || took > most {
			t.Errorf("%v took %d bytes, allowed: %d; error %v", size, took, most, err)
		}
	}
}

// TestTilesAddUp evaluates functions of single pixels tile by tile: blending must not change them.
func TestTilesAddUp(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {7, 13}, {64, 64}, {65, 64}, {130, 301}, {301, 130}, {1, 500}} {
		for _, workers := range []int{1, 3} {
			t.Run(fmt.Sprintf("%v by %d", size, workers), func(t *testing.T) {
				tiles := tiling{size[0], size[1], cutSide(size[0], 64, 4), cutSide(size[1], 64, 4)}
				picture := make([]float32, 2*size[0]*size[1])
				for i := range picture {
					picture[i] = float32(math.Sin(float64(i)))
				}
				var evaluators []evaluator
				for range workers {
					tile := make([]float32, 2*tiles.rows.length*tiles.columns.length)
					evaluators = append(evaluators, func(_ context.Context, top, left int) ([]float32, error) {
						tiles.crop(tile, picture, top, left)
						for i, v := range tile {
							tile[i] = 3*v + 1
						}
						return tile, nil
					})
				}
				got := make([]float32, len(picture))
				finished := 0
				into := tiles.into(got)
				err := tiles.sweep(t.Context(), 2, evaluators, func(part image.Rectangle, line func(int, int) []float32) {
					finished += part.Dx() * part.Dy()
					into(part, line)
				})
				if err != nil || finished != size[0]*size[1] {
					t.Fatalf("%d pixels: %v", finished, err)
				}
				for i, v := range got {
					if diff := math.Abs(float64(v - (3*picture[i] + 1))); diff > 1e-6 {
						t.Fatalf("value %d is %g, want %g", i, v, 3*picture[i]+1)
					}
				}
			})
		}
	}
}
