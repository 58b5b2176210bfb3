package weights

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A Graph is the network's file and which of its inputs is which.
type Graph struct {
	Path     string // of model.onnx, beginning with the bundle's Dir
	Sample   Input  // float32, [batch, channels, height, width]
	Timestep Input  // float32 or int64, a scalar or one for each row
	Label    *Input // int64, one for each row; nil when the network is unconditional
	Output   Input  // float32, [batch, channels, height, width]; twice the channels with a learned variance
}

// readGraph reads the network's file and the files that its weights lie in, and matches its inputs with the config.
func (f *folder) readGraph(net network) (Graph, error) {
	g := Graph{Path: filepath.Join(f.dir, graphFile)}
	var model *onnxModel
	err := f.read(graphFile, func(in *bufio.Reader, size int64) (err error) {
		if model, err = parseModel(in, size); err != nil {
			return err
		}
		return g.match(model, net)
	})
	if err != nil {
		return g, err
	}
	for _, location := range slices.Sorted(maps.Keys(model.data)) {
		if err := f.readData(path.Join(path.Dir(graphFile), location), model.data[location]); err != nil {
			return g, err
		}
	}
	return g, nil
}

func (f *folder) readData(path string, need extent) error {
	return f.read(path, func(_ *bufio.Reader, size int64) error {
		if size < need.bytes {
			return fmt.Errorf("has %d bytes; tensor %q of %s ends at byte %d", size, need.tensor, graphFile, need.bytes)
		}
		return nil
	})
}

// match finds the sample, the timestep and the label among the inputs, and the output.
func (g *Graph) match(m *onnxModel, net network) error {
	_, inputs := divide(m.inputs, func(in Input) bool { return m.initializers[in.Name] })
	var err error
	if g.Sample, g.Timestep, g.Label, err = matchInputs(inputs); err != nil {
		return fmt.Errorf("its inputs cannot be matched: %w; found: %s", err, list(inputs))
	}
	outputs, _ := divide(m.outputs, func(out Input) bool { return len(out.Shape) == 4 && out.Type == "float32" })
	if len(outputs) != 1 {
		return fmt.Errorf("its outputs cannot be matched: just one must be float32 of rank 4; found: %s", list(m.outputs))
	}
	g.Output = outputs[0]
	if err := g.checkTypes(); err != nil {
		return err
	}
	return g.checkConfig(net)
}

func matchInputs(inputs []Input) (sample, timestep Input, label *Input, err error) {
	samples, others := divide(inputs, func(in Input) bool { return len(in.Shape) == 4 })
	_, tooBig := divide(others, func(in Input) bool { return in.Shape != nil && len(in.Shape) <= 1 })
	switch {
	case len(samples) != 1:
		err = errors.New("just one must be of rank 4, the sample")
	case len(others) == 0 || len(others) > 2 || len(tooBig) > 0:
		err = errors.New("the sample goes with a timestep and at most a label, each of rank 0 or 1")
	default:
		sample = samples[0]
		timestep, label, err = tellApart(others)
	}
	return sample, timestep, label, err
}

// tellApart finds the timestep and the label, if any, in one or two inputs. The label is the integer that is called so or,
// where none is, the only integer of the two.
func tellApart(inputs []Input) (timestep Input, label *Input, err error) {
	labels, others := divide(inputs, func(in Input) bool { return isInteger(in) && soundsLikeLabel(in.Name) })
	if len(inputs) == 2 && len(labels) == 0 {
		labels, others = divide(inputs, isInteger)
	}
	if len(others) != 1 {
		return Input{}, nil, errors.New("the timestep and the label cannot be told apart")
	}
	if len(labels) == 1 {
		label = &labels[0]
	}
	return others[0], label, nil
}

// divide splits inputs into those that are as asked and the others.
func divide(inputs []Input, is func(Input) bool) (those, others []Input) {
	for _, in := range inputs {
		if is(in) {
			those = append(those, in)
		} else {
			others = append(others, in)
		}
	}
	return those, others
}

func isInteger(in Input) bool {
	return in.Type == "int64" || in.Type == "int32"
}

func soundsLikeLabel(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "class") || strings.Contains(name, "label") || name == "y"
}

// checkTypes refuses the element types that the service cannot feed.
func (g *Graph) checkTypes() error {
	if g.Sample.Type != "float32" {
		return fmt.Errorf("the sample must be float32, not %s", g.Sample)
	}
	if g.Timestep.Type != "float32" && g.Timestep.Type != "int64" {
		return fmt.Errorf("the timestep must be float32 or int64, not %s", g.Timestep)
	}
	if g.Label != nil && g.Label.Type != "int64" {
		return fmt.Errorf("the label must be int64, not %s", g.Label)
	}
	if g.Label != nil && len(g.Label.Shape) == 0 {
		return fmt.Errorf("the label must be one for each row, not the scalar %s", g.Label)
	}
	return nil
}

// checkConfig refuses a graph that contradicts unet/config.json.
func (g *Graph) checkConfig(net network) error {
	if g.Label != nil && net.classes == 0 {
		return fmt.Errorf("has the label %s, but %s has no num_class_embeds", g.Label, networkFile)
	}
	if g.Label == nil && net.classes > 0 {
		return fmt.Errorf("has no label, but %s has num_class_embeds %d", networkFile, net.classes)
	}
	if err := g.Sample.checkShape(net, net.channels); err != nil {
		return err
	}
	return g.Output.checkShape(net, net.outputs)
}
