package inference

import (
	"errors"
	"math"
	"sync"
	"testing"
	"time"

	"denoised/weights"
)

var limits = Limits{Steps: 1000, Count: 64, Pixels: 1 << 20}

// serve makes a pipeline of one model over a network.
func serve(t testing.TB, b *weights.Bundle, network Network) *Pipeline {
	t.Helper()
	m, err := NewModel(b, network, 8, Unobserved{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return NewPipeline("test", limits, m)
}

func ptr[T any](v T) *T { return &v }

// ledger is an observer that adds up.
type ledger struct {
	Unobserved
	mu           sync.Mutex
	rows, wasted int
	trajectories int
}

func (l *ledger) NetworkRan(_ string, rows int, _ time.Duration) { l.add(&l.rows, rows) }
func (l *ledger) RowsWasted(_ string, rows int)                  { l.add(&l.wasted, rows) }
func (l *ledger) TrajectoriesLive(_ string, now int) {
	l.mu.Lock()
	l.trajectories = now
	l.mu.Unlock()
}

func (l *ledger) add(to *int, n int) {
	l.mu.Lock()
	*to += n
	l.mu.Unlock()
}

func (l *ledger) read() (rows, wasted, trajectories int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rows, l.wasted, l.trajectories
}

var (
	errBroken = errors.New("broken")
	notFinite = float32(math.NaN())
)
