// Package inference turns a request into pictures. A [Pipeline] holds the models that are served; for each image of a
// request it runs one sampler of package diffusion in a goroutine of its own. The samplers' evaluations of the network
// meet in the model's [Engine], which runs them in batches, so requests with different samplers, labels and step counts
// share the network step by step.
//
// A picture depends on the bundle, the resolved request and nothing else: not on what else is running, nor on the batch
// that a row rides in, as long as the network keeps a row's bits, which [NewModel] finds out.
//
// The package neither logs nor registers metrics; it tells an [Observer].
package inference

import "time"

// Network is a loaded graph. Its methods may be called from one goroutine at a time.
type Network interface {
	// Predict evaluates the network at (x, t, label) for len(t) rows. x and out hold the rows one behind the other,
	// each of shape [channels, height, width], in out with twice the channels where the network learned its variance;
	// labels has an entry a row, which a network without classes ignores. The result is written to out. Predict
	// keeps none of the slices.
	Predict(x []float32, shape [3]int, t []float32, labels []int64, out []float32) error

	// Describe names the runtime with its version ("onnxruntime 1.27.0"), the device it computes on ("cpu" or
	// "cuda") and the threads of one run.
	Describe() (runtime, device string, threads int)
}

// Observer is told what the engines do. Its methods are called from several goroutines, must return at once and may not
// call back.
type Observer interface {
	// NetworkRan reports a run of the model's network over rows rows.
	NetworkRan(model string, rows int, took time.Duration)
	// RowsWasted reports rows that were computed for clients that had gone by then.
	RowsWasted(model string, rows int)
	// RowsQueued reports how many rows wait for the network now.
	RowsQueued(model string, rows int)
	// TrajectoriesLive reports how many trajectories the model has now.
	TrajectoriesLive(model string, trajectories int)
}

// Unobserved is the observer that nobody reads.
type Unobserved struct{}

// NetworkRan implements [Observer].
func (Unobserved) NetworkRan(string, int, time.Duration) {}

// RowsWasted implements [Observer].
func (Unobserved) RowsWasted(string, int) {}

// RowsQueued implements [Observer].
func (Unobserved) RowsQueued(string, int) {}

// TrajectoriesLive implements [Observer].
func (Unobserved) TrajectoriesLive(string, int) {}
