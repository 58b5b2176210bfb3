package weights

import (
	"bufio"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	maxDepth = 100     // messages inside messages, as protobuf's own readers allow
	maxText  = 1 << 16 // bytes in a name
)

// A wire walks a protobuf message in a stream. It keeps nothing of what it passes, so that a network of gigabytes takes
// no more memory than a buffer, and it believes no length that the file is too short for.
type wire struct {
	in    *bufio.Reader
	at    int64 // bytes read so far
	depth int
}

// A field is one field of a message, its tag read. A visitor may read the bytes of a field of bytes; what it leaves is skipped.
type field struct {
	wire   *wire
	number protowire.Number
	kind   protowire.Type
	value  uint64 // of a varint
	end    int64  // where the field ends
}

// message visits the fields of a message that begins here and ends at end.
func (w *wire) message(end int64, visit func(field) error) error {
	if w.depth++; w.depth > maxDepth {
		return fmt.Errorf("is damaged: byte %d is more than %d messages deep", w.at, maxDepth)
	}
	defer func() { w.depth-- }()
	for w.at < end {
		f, err := w.field(end)
		if err != nil {
			return err
		}
		if err := visit(f); err != nil {
			return err
		}
		skipped, err := w.in.Discard(int(f.end - w.at))
		if w.at += int64(skipped); err != nil {
			return err
		}
	}
	return nil
}

func (w *wire) field(end int64) (field, error) {
	start := w.at
	tag, err := w.varint(end)
	if err != nil {
		return field{}, err
	}
	f := field{wire: w}
	f.number, f.kind = protowire.DecodeTag(tag)
	var length uint64
	switch f.kind {
	case protowire.VarintType:
		f.value, err = w.varint(end)
	case protowire.BytesType:
		length, err = w.varint(end)
	case protowire.Fixed32Type:
		length = 4
	case protowire.Fixed64Type:
		length = 8
	default:
		f.number = 0
	}
	switch {
	case err != nil:
		return field{}, err
	case f.number < protowire.MinValidNumber:
		return field{}, fmt.Errorf("is no ONNX network or is damaged: byte %d begins no field", start)
	case length > uint64(end-w.at):
		return field{}, fmt.Errorf("is cut short or damaged: byte %d begins a field of %d bytes, and %d are left", start, length, end-w.at)
	}
	f.end = w.at + int64(length)
	return f, nil
}

func (w *wire) varint(end int64) (uint64, error) {
	next, err := w.in.Peek(int(min(10, end-w.at)))
	if err != nil {
		return 0, err
	}
	v, n := protowire.ConsumeVarint(next)
	if n < 0 {
		return 0, fmt.Errorf("is no ONNX network or is damaged: byte %d begins no number", w.at)
	}
	w.at += int64(n)
	_, err = w.in.Discard(n)
	return v, err
}

// message visits the fields of the message in a field.
func (f field) message(visit func(field) error) error {
	if err := f.must(protowire.BytesType); err != nil {
		return err
	}
	return f.wire.message(f.end, visit)
}

// text is the string in a field.
func (f field) text() (string, error) {
	if err := f.must(protowire.BytesType); err != nil {
		return "", err
	}
	if size := f.end - f.wire.at; size > maxText {
		return "", fmt.Errorf("is damaged: byte %d begins a name of %d bytes", f.wire.at, size)
	}
	text := make([]byte, f.end-f.wire.at)
	n, err := io.ReadFull(f.wire.in, text)
	f.wire.at += int64(n)
	return string(text), err
}

// integer is the number in a field.
func (f field) integer() (int64, error) {
	return int64(f.value), f.must(protowire.VarintType)
}

// integers hands over the numbers in a field of a repeated number, which is packed or not.
func (f field) integers(add func(int64)) error {
	if f.kind != protowire.BytesType {
		v, err := f.integer()
		add(v)
		return err
	}
	for f.wire.at < f.end {
		v, err := f.wire.varint(f.end)
		if err != nil {
			return err
		}
		add(int64(v))
	}
	return nil
}

func (f field) must(kind protowire.Type) error {
	if f.kind != kind {
		return fmt.Errorf("is damaged: field %d before byte %d has wire type %d, not %d", f.number, f.end, f.kind, kind)
	}
	return nil
}
