package inference

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var shape = [3]int{1, 2, 2}

// echo gives x back, plus the row's label. Each of its runs takes a known time.
type echo struct {
	takes time.Duration
	fails error
	runs  [][]float32 // timesteps of each run
}

func (e *echo) Predict(x []float32, shape [3]int, t []float32, labels []int64, out []float32) error {
	time.Sleep(e.takes)
	e.runs = append(e.runs, slices.Clone(t))
	size := shape[0] * shape[1] * shape[2]
	for i := range x {
		out[i] = x[i] + float32(labels[i/size])
	}
	return e.fails
}

func (e *echo) Describe() (runtime, device string, threads int) { return "echo", "cpu", 1 }

func rowsOf(runs [][]float32) (rows []int) {
	for _, run := range runs {
		rows = append(rows, len(run))
	}
	return rows
}

// walk is a trajectory of a number of steps whose first value tells whose it is.
func walk(ctx context.Context, seat *Seat, mark float32, steps int, labels ...int64) error {
	defer seat.Leave()
	x := []float32{mark, 2, 3, 4}
	for step := range steps {
		out, err := seat.Predict(ctx, x, float64(step), labels)
		if err != nil {
			return err
		}
		for i, label := range labels {
			if out[i][0] != mark+float32(label) {
				return errors.New("a row came back to another trajectory")
			}
		}
	}
	return nil
}

func TestEngineFillsBatches(t *testing.T) {
	for _, c := range []struct {
		name         string
		trajectories int
		maxRows      int
		maxSize      int
		oneTime      bool
		labels       []int64
		want         []int // rows of each of the runs
	}{
		{"a lone trajectory waits for nobody", 1, 8, 1000, false, []int64{0}, []int{1, 1, 1}},
		{"guidance puts both rows in one run", 1, 8, 1000, false, []int64{0, 5}, []int{2, 2, 2}},
		{"every live trajectory is waited for", 5, 8, 1000, false, []int64{0}, []int{5, 5, 5}},
		// A multiple of the run's rows: with one trajectory over, which of them is left for last is for the scheduler to say.
		{"no run is larger than allowed", 6, 3, 1000, false, []int64{0}, []int{3, 3, 3, 3, 3, 3}},
		{"rows too large for one run are spread over several", 4, 8, 11, false, []int64{0}, []int{2, 2, 2, 2, 2, 2}},
		{"a row larger than that has a run of its own", 2, 8, 3, false, []int64{0}, []int{1, 1, 1, 1, 1, 1}},
		{"a step's rows are split where a run takes one", 1, 1, 1000, false, []int64{0, 5}, []int{1, 1, 1, 1, 1, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := &echo{takes: 5 * time.Millisecond}
				engine := NewEngine("m", network, Batching{c.maxRows, c.maxSize, c.oneTime, 1}, Unobserved{})
				var group sync.WaitGroup
				var seats []*Seat
				for range c.trajectories {
					seats = append(seats, engine.Join(shape, len(c.labels)))
				}
				started := time.Now()
				for i, seat := range seats {
					group.Go(func() {
						if err := walk(t.Context(), seat, float32(i), 3, c.labels...); err != nil {
							t.Error(err)
						}
					})
				}
				group.Wait()
				engine.Close()
				if got := rowsOf(network.runs); !slices.Equal(got, c.want) {
					t.Errorf("runs of %v rows, want %v", got, c.want)
				}
				if took, least := time.Since(started), time.Duration(len(c.want))*network.takes; took != least {
					t.Errorf("took %v; the runs alone take %v", took, least)
				}
			})
		})
	}
}

// TestEngineWindow has one of two live trajectories busy with something else: the other waits for it no longer than the
// window.
func TestEngineWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &echo{takes: 5 * time.Millisecond}
		engine := NewEngine("m", network, Batching{8, 32, false, 1}, Unobserved{})
		defer engine.Close()
		idle := engine.Join(shape, 1)
		defer idle.Leave()
		started := time.Now()
		if err := walk(t.Context(), engine.Join(shape, 1), 1, 1, 0); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(started); took != window+network.takes {
			t.Errorf("took %v, want %v", took, window+network.takes)
		}
	})
}

// TestEngineKeepsTimestepsApart has a network that takes one timestep a run.
func TestEngineKeepsTimestepsApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &echo{takes: time.Millisecond}
		engine := NewEngine("m", network, Batching{8, 32, true, 1}, Unobserved{})
		var group sync.WaitGroup
		seats := []*Seat{engine.Join(shape, 1), engine.Join(shape, 1), engine.Join(shape, 1)}
		for i, seat := range seats {
			group.Go(func() {
				defer seat.Leave()
				if _, err := seat.Predict(t.Context(), make([]float32, 4), float64(i%2), []int64{0}); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		engine.Close()
		for _, run := range network.runs {
			if slices.Min(run) != slices.Max(run) {
				t.Errorf("timesteps %v share a run", run)
			}
		}
		if len(network.runs) != 2 {
			t.Errorf("%d runs, want 2", len(network.runs))
		}
	})
}

func TestEngineCancellation(t *testing.T) {
	gone := errors.New("the client has gone")
	for _, c := range []struct {
		name   string
		after  time.Duration // of the run under way, when the client goes
		wasted int
	}{
		{"rows that wait are withdrawn", 0, 0},
		{"a run under way is waited for and counted", 13 * time.Millisecond, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := &echo{takes: 10 * time.Millisecond}
				observer := &ledger{}
				engine := NewEngine("m", network, Batching{1, 4, false, 1}, observer)
				other := engine.Join(shape, 1)
				var group sync.WaitGroup
				group.Go(func() {
					if err := walk(t.Context(), other, 1, 1, 0); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait()
				ctx, cancel := context.WithCancelCause(t.Context())
				seat := engine.Join(shape, 1)
				failed := make(chan error, 1)
				go func() { failed <- walk(ctx, seat, 2, 1000, 0) }()
				time.Sleep(c.after)
				synctest.Wait()
				cancel(gone)
				if err := <-failed; err != gone {
					t.Errorf("error %v", err)
				}
				group.Wait()
				engine.Close()
				if _, wasted, trajectories := observer.read(); wasted != c.wasted || trajectories != 0 {
					t.Errorf("%d rows wasted and %d trajectories left, want %d and 0", wasted, trajectories, c.wasted)
				}
			})
		})
	}
}

func TestEngineFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := NewEngine("m", &echo{fails: errBroken}, Batching{1, 4, false, 1}, Unobserved{})
		// Both rows of the step fail, in runs of their own.
		err := walk(t.Context(), engine.Join(shape, 2), 1, 1, 0, 5)
		if !errors.Is(err, errBroken) || KindOf(err) != Internal {
			t.Errorf("error %v", err)
		}
		engine.Close()
		if err := walk(t.Context(), engine.Join(shape, 1), 1, 1, 0); err != errClosed {
			t.Errorf("after Close: error %v", err)
		}
	})
}

func BenchmarkEngine(b *testing.B) {
	engine := NewEngine("m", &echo{}, Batching{8, 32, false, 1}, Unobserved{})
	defer engine.Close()
	seat := engine.Join(shape, 1)
	defer seat.Leave()
	x := make([]float32, 4)
	for b.Loop() {
		if _, err := seat.Predict(b.Context(), x, 1, []int64{0}); err != nil {
			b.Fatal(err)
		}
	}
}
