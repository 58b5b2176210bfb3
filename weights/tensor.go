package weights

import (
	"fmt"
	"io/fs"
	"math"
	"strconv"
)

// A tensor is a TensorProto less its values.
type tensor struct {
	name           string
	dataType       int64
	elements       int64 // −1: beyond counting
	external       bool
	location       string
	offset, length int64 // length −1: not given
}

// tensor reads a TensorProto, notes where its values lie if that is another file, and returns its name.
func (m *onnxModel) tensor(f field) (string, error) {
	t := tensor{elements: 1, length: -1}
	err := f.message(func(f field) (err error) {
		switch f.number {
		case 1:
			return f.integers(func(dim int64) { t.elements = product(t.elements, dim) })
		case 2:
			t.dataType, err = f.integer()
		case 8:
			t.name, err = f.text()
		case 13:
			return t.entry(f)
		case 14:
			where, err := f.integer()
			t.external = where == 1
			return err
		}
		return err
	})
	if err != nil || !t.external {
		return t.name, err
	}
	return t.name, m.needData(t)
}

// needData notes how far a tensor reaches in its file.
func (m *onnxModel) needData(t tensor) error {
	if !fs.ValidPath(t.location) {
		return fmt.Errorf("tensor %q has its data in %q, which is no plain path inside the folder", t.name, t.location)
	}
	end, err := t.end()
	if err != nil {
		return fmt.Errorf("tensor %q %w", t.name, err)
	}
	before, known := m.data[t.location]
	if end > before.bytes || !known {
		m.data[t.location] = extent{end, t.name}
	}
	if known {
		return nil
	}
	return m.keep()
}

// entry reads one key and value of a tensor's external data.
func (t *tensor) entry(f field) error {
	var key, value string
	err := f.message(func(f field) (err error) {
		switch f.number {
		case 1:
			key, err = f.text()
		case 2:
			value, err = f.text()
		}
		return err
	})
	if err != nil {
		return err
	}
	number := int64(0)
	if key == "offset" || key == "length" {
		if number, err = strconv.ParseInt(value, 10, 64); err != nil || number < 0 {
			return fmt.Errorf("tensor %q has external data with the %s %q", t.name, key, value)
		}
	}
	switch key {
	case "location":
		t.location = value
	case "offset":
		t.offset = number
	case "length":
		t.length = number
	}
	return nil
}

// end is where the tensor's values end in their file, in bytes.
func (t *tensor) end() (int64, error) {
	kind, known := elementTypes[t.dataType]
	bits := product(t.elements, kind.bits)
	if !known || kind.bits == 0 || bits < 0 || bits > math.MaxInt64-7 {
		return 0, fmt.Errorf("has external data of type %s and no countable size", typeName(t.dataType))
	}
	bytes := (bits + 7) / 8
	if t.length >= 0 && t.length != bytes {
		return 0, fmt.Errorf("needs %d bytes, but its external data has the length %d", bytes, t.length)
	}
	if t.offset > math.MaxInt64-bytes {
		return 0, fmt.Errorf("has external data at the offset %d", t.offset)
	}
	return t.offset + bytes, nil
}

// elementTypes are TensorProto's data types by number, with the bits that an element takes in a file.
var elementTypes = map[int64]struct {
	name string
	bits int64
}{
	1: {"float32", 32}, 2: {"uint8", 8}, 3: {"int8", 8}, 4: {"uint16", 16}, 5: {"int16", 16}, 6: {"int32", 32},
	7: {"int64", 64}, 8: {"string", 0}, 9: {"bool", 8}, 10: {"float16", 16}, 11: {"float64", 64}, 12: {"uint32", 32},
	13: {"uint64", 64}, 14: {"complex64", 64}, 15: {"complex128", 128}, 16: {"bfloat16", 16}, 17: {"float8e4m3fn", 8},
	18: {"float8e4m3fnuz", 8}, 19: {"float8e5m2", 8}, 20: {"float8e5m2fnuz", 8}, 21: {"uint4", 4}, 22: {"int4", 4},
	23: {"float4e2m1", 4}, 24: {"float8e8m0", 8}, 25: {"uint2", 2}, 26: {"int2", 2},
}

func typeName(number int64) string {
	if kind, known := elementTypes[number]; known {
		return kind.name
	}
	return fmt.Sprintf("number %d", number)
}

// product multiplies a size by a dimension; it is −1 once a factor is negative or the product exceeds an int64.
func product(size, dim int64) int64 {
	if size < 0 || dim < 0 || dim > 0 && size > math.MaxInt64/dim {
		return -1
	}
	return size * dim
}
