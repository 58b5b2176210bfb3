package weights

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// inside puts the parts into a field of a message.
func inside(number protowire.Number, parts ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), bytes.Join(parts, nil))
}

// number is a field with a varint.
func number(n protowire.Number, value uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), value)
}

// nested is a network with a graph in the attribute of a node of a graph, and so on, so many times.
func nested(times int) []byte {
	var graph []byte
	for range times {
		graph = inside(1, inside(5, inside(6, graph)))
	}
	return inside(7, graph)
}

func parse(content []byte) (*onnxModel, error) {
	return parseModel(bufio.NewReader(bytes.NewReader(content)), int64(len(content)))
}

func external(location string, fields ...[]byte) []byte {
	place := inside(13, inside(1, []byte("location")), inside(2, []byte(location)))
	return bytes.Join(append([][]byte{inside(8, []byte("w")), number(14, 1), place}, fields...), nil)
}

func TestDataIsFoundWhereverATensorCanBe(t *testing.T) {
	// Dimensions are packed or not, as the writer liked; the four bits of an int4 are rounded up to a byte.
	packed := inside(1, protowire.AppendVarint(protowire.AppendVarint(nil, 3), 5))
	half := external("data", packed, number(2, 22))
	whole := external("data", number(1, 3), number(1, 5), number(2, 1))
	attribute := func(field protowire.Number, content []byte) []byte {
		return inside(1, inside(5, inside(field, content)))
	}
	for _, test := range []struct {
		name  string
		model []byte
		bytes int64
	}{
		{"initializer", inside(7, inside(5, whole)), 60},
		{"initializer of four bits", inside(7, inside(5, half)), 8},
		{"the longest decides", inside(7, inside(5, whole), inside(5, half)), 60},
		{"constant node", inside(7, attribute(5, whole)), 60},
		{"list of tensors", inside(7, attribute(10, whole)), 60},
		{"branch", inside(7, attribute(6, inside(5, whole))), 60},
		{"branch's node", inside(7, attribute(11, attribute(5, whole))), 60},
		{"function", bytes.Join([][]byte{inside(7), inside(25, inside(7, inside(5, inside(5, whole))))}, nil), 60},
	} {
		t.Run(test.name, func(t *testing.T) {
			m, err := parse(test.model)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.data["data"].bytes; got != test.bytes {
				t.Errorf("data must have %d bytes, want %d", got, test.bytes)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, test := range []struct {
		name  string
		model []byte
		want  string
	}{
		{"a name of 70,000 bytes", inside(7, inside(11, inside(1, make([]byte, 70_000)))),
			`is damaged: byte 12 begins a name of 70000 bytes`},
		{"65 dimensions", inside(7, inside(11, inside(1, []byte("x")), inside(2, inside(1, inside(2, bytes.Repeat(inside(1), 65)))))),
			`is damaged: "x" has more than 64 dimensions`},
		{"more inputs than any network has", inside(7, bytes.Repeat(inside(11, inside(1, []byte("x"))), maxKept+1)),
			`is damaged: it lists more than 65536 inputs, outputs, weights and data files`},
		{"a number for the graph", number(7, 1),
			`is damaged: field 7 before byte 2 has wire type 0, not 2`},
		{"a name for a type", inside(7, inside(11, inside(2, inside(1, inside(1, []byte("f")))))),
			`is damaged: field 1 before byte 11 has wire type 2, not 0`},
		{"a number without end", bytes.Repeat([]byte{0x80}, 12),
			`is no ONNX network or is damaged: byte 0 begins no number`},
		{"a field that is longer than the file", []byte{7<<3 | 2, 0xff, 0xff, 0xff, 0x7f},
			`is cut short or damaged: byte 0 begins a field of 268435455 bytes, and 0 are left`},
		{"data without a file", inside(7, inside(5, inside(8, []byte("w")), number(14, 1))),
			`tensor "w" has its data in "", which is no plain path inside the folder`},
		{"data at an absolute path", inside(7, inside(5, external("/etc/passwd"))),
			`tensor "w" has its data in "/etc/passwd", which is no plain path inside the folder`},
		{"data of strings", inside(7, inside(5, external("data", number(2, 8)))),
			`tensor "w" has external data of type string and no countable size`},
		{"data of a type to come", inside(7, inside(5, external("data", number(2, 99)))),
			`tensor "w" has external data of type number 99 and no countable size`},
		{"data of 2⁶⁴ elements", inside(7, inside(5, external("data", number(2, 1), number(1, 1<<32), number(1, 1<<32)))),
			`tensor "w" has external data of type float32 and no countable size`},
		{"data beyond any file", inside(7, inside(5, external("data", number(2, 1),
			inside(13, inside(1, []byte("offset")), inside(2, []byte("9223372036854775807")))))),
			`tensor "w" has external data at the offset 9223372036854775807`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := parse(test.model)
			if err == nil || err.Error() != test.want {
				t.Errorf("said %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestInputsAreListedShortly(t *testing.T) {
	many := make([]Input, 10)
	for i := range many {
		many[i] = Input{Name: string(rune('a' + i)), Type: "int64", Shape: []int64{}}
	}
	if got := list(many); !strings.HasSuffix(got, "h int64[], and 2 more") {
		t.Errorf("the list is %s", got)
	}
}

// zeros are weights without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestWeightsPassThroughABuffer(t *testing.T) {
	const weights = 1 << 28
	length := protowire.AppendVarint(protowire.AppendTag(nil, 9, protowire.BytesType), weights)
	tensor := protowire.AppendVarint(protowire.AppendTag(nil, 5, protowire.BytesType), uint64(len(length)+weights))
	graph := protowire.AppendVarint(protowire.AppendTag(nil, 7, protowire.BytesType), uint64(len(tensor)+len(length)+weights))
	start := bytes.Join([][]byte{graph, tensor, length}, nil)
	file := bufio.NewReader(io.MultiReader(bytes.NewReader(start), zeros{}))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := parseModel(file, int64(len(start)+weights)); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<16 {
		t.Errorf("took %d bytes of memory for %d of weights", took, weights)
	}
}

// FuzzGraph looks for files that make the parser panic, or take memory that the file is too short to be the reason for.
// With Go's minute for shortening each find it hardly gets on: go test -fuzz FuzzGraph -fuzzminimizetime 10x.
func FuzzGraph(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*/unet/model.onnx")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "testdata/good/unet/model.onnx") {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	f.Add(nested(100))
	f.Fuzz(func(t *testing.T, content []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		m, err := parse(content)
		if err == nil {
			err = new(Graph).match(m, network{channels: 1, outputs: 1, height: 8, width: 8, classes: 4})
		}
		runtime.ReadMemStats(&after)
		took := after.TotalAlloc - before.TotalAlloc
		if most := uint64(1<<20 + 64*len(content)); took > most {
			t.Errorf("took %d bytes for a file of %d (%v)", took, len(content), err)
		}
	})
}
