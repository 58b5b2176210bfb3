package onnx_test

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"denoised/inference/onnx"
)

// TestMain loads the library for all tests. Without it they fail, and say how to fetch it.
func TestMain(m *testing.M) {
	path, err := onnx.Find()
	if err == nil {
		err = onnx.Load(path)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestLibrary(t *testing.T) {
	if got := onnx.Version(); got != "1.27.0" {
		t.Errorf("onnxruntime %s is loaded; the tests are of 1.27.0", got)
	}
	if os.Getenv("ORT_DISABLE_TELEMETRY") != "1" {
		t.Error("the telemetry was not turned off before the library started")
	}
	if err := onnx.Load("elsewhere"); err == nil || err.Error() != "onnxruntime is loaded already" {
		t.Errorf("a second library: %v", err)
	}
}

const graphs = "../../weights/testdata/"

// plain are the names in the graphs of weights/testdata. Each of those is out = sample/2 + timestep/1000 + label/10.
var plain = onnx.Graph{Path: graphs + "good/unet/model.onnx", Sample: "sample", Timestep: "timestep", Label: "class_labels", Output: "out_sample"}

func TestPredict(t *testing.T) {
	variant := func(name string, change func(*onnx.Graph)) onnx.Graph {
		g := plain
		g.Path = graphs + "variants/" + name + "/unet/model.onnx"
		change(&g)
		return g
	}
	for _, c := range []struct {
		name   string
		graph  onnx.Graph
		t      []float32
		seen   []float64 // the timesteps that reach the network
		copies int       // of its answer that the network gives, one behind the other in each row
	}{
		{"fractional timesteps", plain, []float32{10.5, 20.25}, []float64{10.5, 20.25}, 1},
		{"external data", variant("external-data", func(*onnx.Graph) {}), []float32{1.5, 2}, []float64{1.5, 2}, 1},
		{"other names, whole timesteps", variant("other-names", func(g *onnx.Graph) {
			g.Sample, g.Timestep, g.Label, g.Output, g.WholeTimestep = "x", "t", "y", "eps", true
		}), []float32{10.6, 11.5}, []float64{11, 12}, 1},
		{"no classes", variant("unconditional", func(g *onnx.Graph) { g.Label = "" }), []float32{7, 8}, []float64{7, 8}, 1},
		{"a scalar timestep", variant("scalar-timestep", func(g *onnx.Graph) {
			g.Timestep, g.Label, g.WholeTimestep, g.ScalarTimestep = "t", "", true, true
		}), []float32{30.4, 30.4}, []float64{30, 30}, 1},
		{"a learned variance has channels of its own", variant("learned-variance", func(*onnx.Graph) {}), []float32{3, 4}, []float64{3, 4}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			session, err := onnx.Open(c.graph, onnx.CPU, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			shape := [3]int{1, 3, 2}
			x, labels := make([]float32, 12), []int64{3, 9}
			for i := range x {
				x[i] = float32(i)
			}
			out := make([]float32, c.copies*len(x))
			if err := session.Predict(x, shape, c.t, labels, out); err != nil {
				t.Fatal(err)
			}
			for i, got := range out {
				row := i / (6 * c.copies)
				want := float64(6*row+i%6)/2 + c.seen[row]/1000
				if c.graph.Label != "" {
					want += float64(labels[row]) / 10
				}
				if math.Abs(float64(got)-want) > 1e-6 {
					t.Errorf("value %d is %g, want %g", i, got, want)
				}
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	missing := plain
	missing.Path = "nowhere.onnx"
	for _, c := range []struct {
		name   string
		graph  onnx.Graph
		device string
		want   string
	}{
		{"no such file", missing, onnx.CPU, "open nowhere.onnx: "},
		{"no such device", plain, "tpu", `no device is called "tpu"; allowed: auto, cpu, cuda`},
		{"CUDA without a GPU", plain, onnx.CUDA, "CUDA cannot be had: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			session, err := onnx.Open(c.graph, c.device, 1)
			if err == nil {
				session.Close()
				if c.device == onnx.CUDA {
					t.Skip("this machine has CUDA")
				}
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestAuto opens a network wherever it can be had, and says why where that is not CUDA.
func TestAuto(t *testing.T) {
	session, err := onnx.Open(plain, onnx.Auto, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	runtime, device, threads := session.Describe()
	if runtime != "onnxruntime 1.27.0" || threads != 1 {
		t.Errorf("%s with %d threads", runtime, threads)
	}
	if (device == onnx.CPU) != (session.Fallback() != nil) {
		t.Errorf("device %s, fallback %v", device, session.Fallback())
	}
}

func TestPredictRefuses(t *testing.T) {
	session, err := onnx.Open(plain, onnx.CPU, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	err = session.Predict(make([]float32, 5), [3]int{1, 2, 2}, []float32{1}, []int64{0}, make([]float32, 4))
	if err == nil || err.Error() != "5 values do not fill a tensor of shape [1 1 2 2]" {
		t.Errorf("error %v", err)
	}
}
