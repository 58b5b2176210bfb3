package onnx

import (
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"
)

// Graph names what a network's inputs and output are called in its file, and how it takes the timestep.
type Graph struct {
	Path                        string // of the .onnx file
	Sample, Timestep, Output    string
	Label                       string // "" where the network has no classes
	WholeTimestep               bool   // the timestep is an int64, to which fractions are rounded
	OneTimestep, ScalarTimestep bool   // a run takes a single timestep: as [1], or as a scalar
}

// Devices are what a session can be asked to compute on.
const (
	Auto = "auto" // CUDA where it can be had, else the CPU
	CPU  = "cpu"
	CUDA = "cuda"
)

// Session is a loaded network. Its methods may be called from one goroutine at a time.
type Session struct {
	graph    Graph
	session  *ort.DynamicAdvancedSession
	device   string
	threads  int
	fallback error
}

// Open loads a network for runs of threads threads each. With the device [Auto] a network that CUDA does not take is
// loaded on the CPU, and [Session.Fallback] says why; with [CUDA] that is an error.
func Open(graph Graph, device string, threads int) (*Session, error) {
	s := &Session{graph: graph, device: device, threads: threads}
	var err error
	switch device {
	case CPU, CUDA:
		s.session, err = s.load(device)
	case Auto:
		s.device = CUDA
		if s.session, s.fallback = s.load(CUDA); s.fallback != nil {
			s.device = CPU
			s.session, err = s.load(CPU)
		}
	default:
		err = fmt.Errorf("no device is called %q; allowed: %s, %s, %s", device, Auto, CPU, CUDA)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", graph.Path, err)
	}
	return s, nil
}

func (s *Session) load(device string) (*ort.DynamicAdvancedSession, error) {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	if err := s.configure(options); err != nil {
		return nil, err
	}
	if device == CUDA {
		if err := appendCUDA(options); err != nil {
			return nil, fmt.Errorf("CUDA cannot be had: %s", reason(err))
		}
	}
	inputs := []string{s.graph.Sample, s.graph.Timestep}
	if s.graph.Label != "" {
		inputs = append(inputs, s.graph.Label)
	}
	return ort.NewDynamicAdvancedSession(s.graph.Path, inputs, []string{s.graph.Output}, options)
}

// configure sets the threads, which onnxruntime would otherwise take from the machine and not from the process's share
// of it, and keeps them from spinning between runs, which takes the processor from everything else.
func (s *Session) configure(options *ort.SessionOptions) error {
	steps := []func() error{
		func() error { return options.SetIntraOpNumThreads(s.threads) },
		func() error { return options.SetInterOpNumThreads(1) },
		func() error { return options.SetExecutionMode(ort.ExecutionModeSequential) },
		func() error { return options.SetGraphOptimizationLevel(ort.GraphOptimizationLevelEnableAll) },
		func() error { return options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func appendCUDA(options *ort.SessionOptions) error {
	cuda, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return err
	}
	defer cuda.Destroy()
	// The exhaustive search for convolution algorithms, CUDA's default, makes the first run of every shape slow, and
	// reduced-precision products would draw other pictures than the CPU.
	if err := cuda.Update(map[string]string{
		"device_id": strconv.Itoa(0), "cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0",
	}); err != nil {
		return err
	}
	return options.AppendExecutionProviderCUDA(cuda)
}

// reason is what onnxruntime says of a failure, without the place in its own source that it puts before it.
func reason(err error) string {
	_, text, found := strings.Cut(err.Error(), " FAIL : ")
	if !found {
		return err.Error()
	}
	return strings.TrimSpace(text)
}

// Fallback is why a session that was asked for [Auto] does not run on CUDA; nil where it does.
func (s *Session) Fallback() error { return s.fallback }

// Describe names the runtime with its version, the device and the threads of one run.
func (s *Session) Describe() (runtime, device string, threads int) {
	return "onnxruntime " + Version(), s.device, s.threads
}

// Predict evaluates the network for len(t) rows of the given shape (channels, height, width), which lie one behind the
// other in x, and writes the result to out, whose length says how many channels it has. A graph with a single timestep takes
// it from t[0]. The slices are lent:
// onnxruntime reads and writes them in place.
func (s *Session) Predict(x []float32, shape [3]int, t []float32, labels []int64, out []float32) error {
	var run run
	defer run.end()
	rows := int64(len(t))
	images := ort.NewShape(rows, int64(shape[0]), int64(shape[1]), int64(shape[2]))
	inputs := []ort.Value{lend(&run, images, x), s.timestep(&run, t)}
	if s.graph.Label != "" {
		inputs = append(inputs, lend(&run, ort.NewShape(rows), labels))
	}
	channels := int64(len(out)/len(x)) * int64(shape[0])
	outputs := []ort.Value{lend(&run, ort.NewShape(rows, channels, int64(shape[1]), int64(shape[2])), out)}
	if run.err != nil {
		return run.err
	}
	return s.session.Run(inputs, outputs)
}

func (s *Session) timestep(r *run, t []float32) ort.Value {
	if s.graph.OneTimestep || s.graph.ScalarTimestep {
		t = t[:1]
	}
	if !s.graph.WholeTimestep {
		if s.graph.ScalarTimestep {
			return scalar(r, t[0])
		}
		return lend(r, ort.NewShape(int64(len(t))), t)
	}
	whole := make([]int64, len(t))
	for i, v := range t {
		whole[i] = int64(math.RoundToEven(float64(v)))
	}
	if s.graph.ScalarTimestep {
		return scalar(r, whole[0])
	}
	return lend(r, ort.NewShape(int64(len(t))), whole)
}

// Close frees the session. No run may be under way.
func (s *Session) Close() error { return s.session.Destroy() }

// run holds what one run lends to onnxruntime, which keeps pointers to it between calls: the garbage collector must
// leave it where it is.
type run struct {
	pinner runtime.Pinner
	values []ort.Value
	err    error
}

// lend makes a tensor over a slice without copying it.
func lend[T ort.TensorData](r *run, shape ort.Shape, data []T) ort.Value {
	if r.err != nil {
		return nil
	}
	if shape.FlattenedSize() != int64(len(data)) {
		r.err = fmt.Errorf("%d values do not fill a tensor of shape %v", len(data), shape)
		return nil
	}
	r.pinner.Pin(&data[0])
	return keep(r, func() (ort.Value, error) { return ort.NewTensor(shape, data) })
}

func scalar[T ort.TensorData](r *run, v T) ort.Value {
	return keep(r, func() (ort.Value, error) { return ort.NewScalar(v) })
}

func keep(r *run, make func() (ort.Value, error)) ort.Value {
	if r.err != nil {
		return nil
	}
	value, err := make()
	if err != nil {
		r.err = err
		return nil
	}
	r.values = append(r.values, value)
	return value
}

func (r *run) end() {
	for _, value := range r.values {
		value.Destroy()
	}
	r.pinner.Unpin()
}
