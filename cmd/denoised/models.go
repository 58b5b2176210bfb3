package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"

	"denoised/inference"
	"denoised/inference/onnx"
	"denoised/weights"
)

// loading says which networks to load and how.
type loading struct {
	Device      string `enum:"auto,cpu,cuda" default:"auto" env:"DENOISED_DEVICE" help:"Where networks run: auto, cpu or cuda. With auto, on CUDA where it can be had, else on the CPU."`
	Onnxruntime string `env:"DENOISED_ONNXRUNTIME" placeholder:"PATH" help:"The shared library libonnxruntime.so. Looked for in the usual places when absent."`
}

// folder adds the weights folder, for the commands that serve all of it.
type folder struct {
	loading
	Weights string `default:"weights" env:"DENOISED_WEIGHTS" placeholder:"DIR" help:"Folder of bundles; every one in it is served."`
}

// Rows of one run. On a CPU a row costs nearly the same in any batch, and a long run keeps newcomers waiting; a GPU is
// only used whole by many rows.
const (
	maxRowsCPU  = 8
	maxRowsCUDA = 64
)

// loaded is a set of models with what has to be closed after them.
type loaded struct {
	models   []*inference.Model
	sessions []*onnx.Session
}

func (l *loaded) close() {
	for _, m := range l.models {
		m.Close()
	}
	for _, s := range l.sessions {
		s.Close()
	}
}

// device is where the networks run, which is the same for all of them, and where that is not what `auto` hopes for, why.
func (l *loaded) device() (device string, fallback error) {
	first := l.sessions[0]
	_, device, _ = first.Describe()
	return device, first.Fallback()
}

// loadFor loads what a local command needs: the model that it names, or all where it names none.
func (f folder) loadFor(model *string) (*loaded, error) {
	if model == nil {
		return f.loadAll(inference.Unobserved{})
	}
	return f.load([]string{filepath.Join(f.Weights, *model)}, inference.Unobserved{})
}

// loadAll loads every bundle of the folder.
func (f folder) loadAll(observer inference.Observer) (*loaded, error) {
	dirs, err := weights.Find(f.Weights)
	if err != nil {
		return nil, err
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("the folder %s has no bundle; a bundle is a folder in the diffusers layout, such as %s/digits", f.Weights, f.Weights)
	}
	return f.load(dirs, observer)
}

// load checks all the bundles before it loads the first network.
func (l loading) load(dirs []string, observer inference.Observer) (*loaded, error) {
	var bundles []*weights.Bundle
	var faults error
	for _, dir := range dirs {
		bundle, err := weights.Open(dir)
		faults = errors.Join(faults, err)
		bundles = append(bundles, bundle)
	}
	if faults != nil {
		return nil, faults
	}
	if err := l.loadLibrary(); err != nil {
		return nil, err
	}
	all := &loaded{}
	for _, bundle := range bundles {
		if err := all.add(bundle, l.Device, observer); err != nil {
			all.close()
			return nil, err
		}
	}
	return all, nil
}

func (l loading) loadLibrary() error {
	path := l.Onnxruntime
	if path == "" {
		var err error
		if path, err = onnx.Find(); err != nil {
			return err
		}
	}
	return onnx.Load(path)
}

func (l *loaded) add(bundle *weights.Bundle, device string, observer inference.Observer) error {
	session, err := onnx.Open(graphOf(bundle), device, runtime.GOMAXPROCS(0))
	if err != nil {
		return err
	}
	l.sessions = append(l.sessions, session)
	maxRows := maxRowsCPU
	if _, device, _ := session.Describe(); device == onnx.CUDA {
		maxRows = maxRowsCUDA
	}
	model, err := inference.NewModel(bundle, session, maxRows, observer)
	if err != nil {
		return err
	}
	l.models = append(l.models, model)
	return nil
}

func graphOf(bundle *weights.Bundle) onnx.Graph {
	g := bundle.Graph
	graph := onnx.Graph{
		Path: g.Path, Sample: g.Sample.Name, Timestep: g.Timestep.Name, Output: g.Output.Name,
		WholeTimestep:  g.Timestep.Type == "int64",
		ScalarTimestep: len(g.Timestep.Shape) == 0,
		OneTimestep:    len(g.Timestep.Shape) == 1 && g.Timestep.Shape[0] == 1,
	}
	if g.Label != nil {
		graph.Label = g.Label.Name
	}
	return graph
}
