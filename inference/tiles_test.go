package inference

import (
	"context"
	"fmt"
	"math"
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
		{257, 256, 1, cut{161, 257, 2, 16}},
		{500, 256, 8, cut{216, 504, 3, 8}},
		{100, 256, 0, cut{256, 256, 1, 16}},
		{300, 256, 0, cut{256, 304, 2, 16}},
		{56, 28, 4, cut{24, 56, 3, 4}},
	} {
		got := cutSide(c.n, c.own, c.step)
		if got != c.want {
			t.Errorf("%d pixels, own %d, step %d: %+v, want %+v", c.n, c.own, c.step, got, c.want)
		}
	}
	for n := 1; n < 2000; n += 13 {
		for _, own := range []int{28, 64, 256, 500} {
			for _, step := range []int{0, 1, 4, 8} {
				c := cutSide(n, own, step)
				if c.end < n || c.length > own || c.length < 1 || step > 0 && (own-c.length)%step != 0 {
					t.Fatalf("%d pixels, own %d, step %d: %+v", n, own, step, c)
				}
				if last := c.start(c.count-1) + c.length; last != c.end {
					t.Fatalf("%d pixels, own %d, step %d: %+v reach to %d", n, own, step, c, last)
				}
				for k := 1; k < c.count; k++ {
					shared := c.start(k-1) + c.length - c.start(k)
					if c.start(k)%c.unit != 0 || shared < min(mostOverlap, own/4)-c.unit {
						t.Fatalf("%d pixels, own %d, step %d: tile %d of %+v begins at %d and shares %d", n, own, step, k, c, c.start(k), shared)
					}
				}
			}
		}
	}
}

// TestTileRimsAreLeftOut: where two large tiles overlap, neither counts near its own rim.
func TestTileRimsAreLeftOut(t *testing.T) {
	c := cutSide(1000, 256, 8)
	for k := 1; k < c.count; k++ {
		for i := range 20 {
			if w := c.weight(k, i); w != 0 {
				t.Errorf("tile %d has the share %g in its pixel %d", k, w, i)
			}
			if w := c.weight(k-1, c.length-1-i); w != 0 {
				t.Errorf("tile %d has the share %g in the pixel %d before its end", k-1, w, i)
			}
		}
	}
}

// TestTilesAddUp evaluates functions of single pixels tile by tile: blending must not change them.
func TestTilesAddUp(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {7, 13}, {64, 64}, {65, 64}, {130, 301}} {
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
				got, next := make([]float32, len(picture)), 0
				err := tiles.sweep(t.Context(), 2, evaluators, func(first, count int, lines func(int) []float32) {
					if first != next {
						t.Errorf("lines from %d on, after %d", first, next)
					}
					next = first + count
					for plane := range 2 {
						copy(got[(plane*size[0]+first)*size[1]:], lines(plane))
					}
				})
				if err != nil || next != size[0] {
					t.Fatalf("%d lines: %v", next, err)
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
