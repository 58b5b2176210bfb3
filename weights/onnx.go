package weights

import (
	"bufio"
	"errors"
	"fmt"
)

// maxKept bounds how many inputs, outputs, initializers and data files a network may list. The largest have thousands.
const maxKept = 1 << 16

// An onnxModel is what the service needs to know of a network before it loads it, from onnx.proto's ModelProto.
// The field numbers below are that file's.
type onnxModel struct {
	hasGraph        bool
	inputs, outputs []Input
	initializers    map[string]bool   // inputs of older exports that are weights
	data            map[string]extent // external data by file, as the tensors name it
	kept            int
}

// An extent is how many bytes a file of external data needs, and the tensor that reaches so far.
type extent struct {
	bytes  int64
	tensor string
}

// parseModel reads a ModelProto of size bytes.
func parseModel(in *bufio.Reader, size int64) (*onnxModel, error) {
	m := &onnxModel{initializers: map[string]bool{}, data: map[string]extent{}}
	w := &wire{in: in}
	err := w.message(size, func(f field) error {
		switch f.number {
		case 7:
			m.hasGraph = true
			return f.message(m.graph)
		case 25:
			return f.message(m.function)
		}
		return nil
	})
	if err == nil && !m.hasGraph {
		err = errors.New("is no ONNX network: it has no graph")
	}
	return m, err
}

// graph reads a field of the outermost GraphProto.
func (m *onnxModel) graph(f field) error {
	switch f.number {
	case 5:
		name, err := m.tensor(f)
		if err != nil {
			return err
		}
		m.initializers[name] = true
		return m.keep()
	case 11, 12:
		in, err := parseInput(f)
		if err != nil {
			return err
		}
		if f.number == 11 {
			m.inputs = append(m.inputs, in)
		} else {
			m.outputs = append(m.outputs, in)
		}
		return m.keep()
	default:
		return m.subgraph(f)
	}
}

// subgraph reads a field of a GraphProto inside a node, whose weights may lie in external files too.
func (m *onnxModel) subgraph(f field) error {
	switch f.number {
	case 1:
		return f.message(m.node)
	case 5:
		_, err := m.tensor(f)
		return err
	}
	return nil
}

func (m *onnxModel) function(f field) error {
	if f.number == 7 {
		return f.message(m.node)
	}
	return nil
}

func (m *onnxModel) node(f field) error {
	if f.number == 5 {
		return f.message(m.attribute)
	}
	return nil
}

func (m *onnxModel) attribute(f field) error {
	switch f.number {
	case 5, 10:
		_, err := m.tensor(f)
		return err
	case 6, 11:
		return f.message(m.subgraph)
	}
	return nil
}

func (m *onnxModel) keep() error {
	if m.kept++; m.kept > maxKept {
		return fmt.Errorf("is damaged: it lists more than %d inputs, outputs, weights and data files", maxKept)
	}
	return nil
}

// parseInput reads a ValueInfoProto.
func parseInput(f field) (Input, error) {
	in := Input{Type: "no tensor"}
	err := f.message(func(f field) (err error) {
		switch f.number {
		case 1:
			in.Name, err = f.text()
		case 2:
			err = f.message(func(f field) error {
				if f.number != 1 {
					return nil
				}
				return f.message(in.tensorType)
			})
		}
		return err
	})
	if err == nil && in.Name == "" {
		err = fmt.Errorf("is damaged: an input or output before byte %d has no name", f.end)
	}
	return in, err
}

// tensorType reads a field of a TypeProto.Tensor.
func (in *Input) tensorType(f field) error {
	switch f.number {
	case 1:
		number, err := f.integer()
		in.Type = typeName(number)
		return err
	case 2:
		in.Shape = []int64{}
		return f.message(in.dimension)
	}
	return nil
}

// dimension reads a field of a TensorShapeProto.
func (in *Input) dimension(f field) error {
	const most = 64
	if f.number != 1 {
		return nil
	}
	if len(in.Shape) == most {
		return fmt.Errorf("is damaged: %q has more than %d dimensions", in.Name, most)
	}
	size := int64(-1)
	err := f.message(func(f field) (err error) {
		if f.number == 1 {
			size, err = f.integer()
		}
		return err
	})
	in.Shape = append(in.Shape, max(size, -1))
	return err
}
