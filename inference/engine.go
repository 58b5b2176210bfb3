package inference

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// window bounds how long a run waits for the trajectories that are about to ask for their next row. It is short beside
// any network worth serving, and a lone request never waits it out.
const window = time.Millisecond

var errClosed = errors.New("the engine is closed")

// Engine collects rows from all trajectories of a model, runs the network over them and hands the results back. One
// goroutine owns the network. Rows are served in the order in which they were asked for, and a trajectory has at most
// one step waiting, so every trajectory advances at the same pace.
type Engine struct {
	model    string
	network  Network
	batching Batching
	observer Observer

	mu           sync.Mutex // also held while the observer hears of a level, so that it hears the last one last
	pending      []*row
	trajectories int
	live         int // rows that the live trajectories ask for at a time
	closed       bool
	wake         chan struct{} // holds a token when pending, live or closed has changed
	done         chan struct{} // closed when the goroutine has ended
}

// Batching is what a run of the network can be.
type Batching struct {
	MaxRows int  // rows of a run
	MaxSize int  // values of x that a run's rows have together; a single row may have more
	OneTime bool // all rows of a run have the same timestep
	Outputs int  // values of the result for each value of x
}

// row is one evaluation of the network for one trajectory at one step.
type row struct {
	call  *call
	label int64
	out   []float32
}

// call is one step's rows.
type call struct {
	ctx     context.Context
	x       []float32
	shape   [3]int
	t       float32
	left    int // rows without a result, guarded by the engine's mutex
	running int // rows in the run under way, guarded by the engine's mutex
	ran     time.Duration
	err     error
	done    chan struct{}
}

// NewEngine starts an engine over a network.
func NewEngine(model string, network Network, batching Batching, observer Observer) *Engine {
	e := &Engine{
		model: model, network: network, batching: batching, observer: observer,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	go e.serve()
	return e
}

// Close ends the engine when the run under way has ended. Rows that still wait fail.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.nudge()
	<-e.done
}

// Seat is a live trajectory's place in the engine. It belongs to the trajectory's goroutine.
type Seat struct {
	engine *Engine
	shape  [3]int
	rows   int
	out    [][]float32

	Waited time.Duration // how long its rows have waited for a run
	Ran    time.Duration // how long the runs took that its rows rode in
}

// Join announces a trajectory that will ask for rows rows of the given shape at every step. The engine fills its
// batches by counting who is there, so a trajectory that has ended must [Seat.Leave].
func (e *Engine) Join(shape [3]int, rows int) *Seat {
	s := &Seat{engine: e, shape: shape, rows: rows, out: make([][]float32, rows)}
	for i := range s.out {
		s.out[i] = make([]float32, shape[0]*shape[1]*shape[2]*e.batching.Outputs)
	}
	e.count(1, rows)
	return s
}

// Leave gives the place back.
func (s *Seat) Leave() { s.engine.count(-1, -s.rows) }

func (e *Engine) count(trajectories, rows int) {
	e.mu.Lock()
	e.trajectories += trajectories
	e.live += rows
	e.observer.TrajectoriesLive(e.model, e.trajectories)
	e.mu.Unlock()
	e.nudge()
}

// Predict evaluates the network for x at timestep t once for each label and blocks until all results are there. It is a
// diffusion.Network: the slices returned are the seat's own and hold until its next call. When ctx ends, rows that no
// run has taken yet are withdrawn and the context's cause is returned; a run under way is waited for, since it may read
// x.
func (s *Seat) Predict(ctx context.Context, x []float32, t float64, labels []int64) ([][]float32, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c := &call{ctx: ctx, x: x, shape: s.shape, t: float32(t), left: len(labels), done: make(chan struct{})}
	rows := make([]*row, len(labels))
	for i, label := range labels {
		rows[i] = &row{call: c, label: label, out: s.out[i]}
	}
	asked := time.Now()
	if err := s.engine.enqueue(rows); err != nil {
		return nil, err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		s.engine.withdraw(c)
		<-c.done
	}
	s.Ran += c.ran
	s.Waited += time.Since(asked) - c.ran
	if c.err != nil {
		return nil, c.err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return s.out[:len(labels)], nil
}

func (e *Engine) enqueue(rows []*row) error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return errClosed
	}
	e.pending = append(e.pending, rows...)
	e.observer.RowsQueued(e.model, len(e.pending))
	e.mu.Unlock()
	e.nudge()
	return nil
}

// withdraw takes a call's waiting rows out of the queue and ends the call unless a run has some of its rows.
func (e *Engine) withdraw(c *call) {
	e.mu.Lock()
	before := len(e.pending)
	e.pending = slices.DeleteFunc(e.pending, func(r *row) bool { return r.call == c })
	withdrawn := before - len(e.pending)
	c.left -= withdrawn
	if withdrawn > 0 && c.left == 0 && c.running == 0 {
		close(c.done)
	}
	e.observer.RowsQueued(e.model, len(e.pending))
	e.mu.Unlock()
	e.nudge()
}

// nudge wakes the engine's goroutine to look again.
func (e *Engine) nudge() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

func (e *Engine) serve() {
	defer close(e.done)
	var buffers buffers
	for {
		batch := e.collect()
		if batch == nil {
			e.fail()
			return
		}
		e.run(batch, &buffers)
	}
}

// collect waits for rows and takes as many as fit a run. Taking only what is queued at once would halve the batches: the
// first trajectory to come back would start a run before the others wake. So it waits until every live trajectory has
// asked, or the batch is full, or the window is over. It returns nil when the engine is closed.
func (e *Engine) collect() []*row {
	var closing <-chan time.Time
	for over := false; ; {
		e.mu.Lock()
		if e.closed {
			e.mu.Unlock()
			return nil
		}
		waiting := len(e.pending)
		if waiting > 0 && (over || waiting >= min(e.fits(e.pending[0].call), e.live)) {
			batch := e.take()
			e.observer.RowsQueued(e.model, len(e.pending))
			e.mu.Unlock()
			return batch
		}
		e.mu.Unlock()
		switch {
		case waiting == 0:
			closing, over = nil, false
		case closing == nil:
			closing = time.After(window)
		}
		select {
		case <-e.wake:
		case <-closing:
			over = true
		}
	}
}

// fits is how many rows like a call's one run takes.
func (e *Engine) fits(c *call) int {
	return min(e.batching.MaxRows, max(1, e.batching.MaxSize/len(c.x)))
}

// take removes from the queue, in its order, the rows that can ride with the first one.
func (e *Engine) take() []*row {
	first := e.pending[0].call
	most := e.fits(first)
	var batch []*row
	e.pending = slices.DeleteFunc(e.pending, func(r *row) bool {
		fits := len(batch) < most && r.call.shape == first.shape && (!e.batching.OneTime || r.call.t == first.t)
		if fits {
			batch = append(batch, r)
			r.call.running++
		}
		return fits
	})
	return batch
}

// buffers is a run's input and output, kept from run to run.
type buffers struct {
	x, out, t []float32
	labels    []int64
}

// run evaluates the network over a batch and hands each row its result.
func (e *Engine) run(batch []*row, b *buffers) {
	size := len(batch[0].out)
	b.x, b.out = b.x[:0], slices.Grow(b.out[:0], size*len(batch))[:size*len(batch)]
	b.t, b.labels = b.t[:0], b.labels[:0]
	for _, r := range batch {
		b.x = append(b.x, r.call.x...)
		b.t = append(b.t, r.call.t)
		b.labels = append(b.labels, r.label)
	}
	started := time.Now()
	err := e.network.Predict(b.x, batch[0].call.shape, b.t, b.labels, b.out)
	took := time.Since(started)
	e.observer.NetworkRan(e.model, len(batch), took)

	wasted := 0
	for i, r := range batch {
		copy(r.out, b.out[i*size:])
		if r.call.ctx.Err() != nil {
			wasted++
		}
	}
	e.finish(batch, took, err)
	if wasted > 0 {
		e.observer.RowsWasted(e.model, wasted)
	}
}

// finish ends the calls that have all their results.
func (e *Engine) finish(batch []*row, took time.Duration, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, r := range batch {
		c := r.call
		c.left--
		c.running--
		if i == 0 || batch[i-1].call != c {
			c.ran += took
		}
		if err != nil {
			c.err = &Error{Kind: Internal, Detail: "the network failed", Err: err}
		}
		if c.left == 0 && c.running == 0 {
			close(c.done)
		}
	}
}

// fail ends every call that still waits when the engine closes.
func (e *Engine) fail() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.pending {
		r.call.err = errClosed
		r.call.left--
		if r.call.left == 0 {
			close(r.call.done)
		}
	}
	e.pending = nil
}
