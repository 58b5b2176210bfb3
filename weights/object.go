package weights

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxJSON is the longest config read, in bytes. Those that people publish have a few thousand.
const maxJSON = 1 << 20

// An object is a JSON object that is asked for its keys one by one. Its first fault stays, and later questions are
// answered with whatever they name for an absent key, so that a reader asks for all it needs and looks at err once.
type object struct {
	path   string // of the object in its file, "" or ending in a point
	values map[string]json.RawMessage
	asked  []string
	err    *error // shared with the objects inside
}

// readJSON reads a file that must hold one JSON object.
func (f *folder) readJSON(path string, decode func(*object)) error {
	return f.read(path, func(in *bufio.Reader, size int64) error {
		if size > maxJSON {
			return fmt.Errorf("has %d bytes; a config has at most %d", size, maxJSON)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		o := object{err: new(error)}
		if o.values, err = parseObject(text); err != nil {
			return err
		}
		decode(&o)
		return *o.err
	})
}

func parseObject(text []byte) (map[string]json.RawMessage, error) {
	text = bytes.TrimRight(text, " \t\r\n") // so that an early end is told by the last line that says something
	text = fromPython(text)
	var values map[string]json.RawMessage
	err := json.Unmarshal(text, &values)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		before := toPython(text[:syntax.Offset])
		line := 1 + strings.Count(before, "\n")
		column := len(before) - 1 - strings.LastIndexByte(before, '\n')
		return nil, fmt.Errorf("line %d, column %d: %w", line, column, syntax)
	}
	if err != nil || values == nil {
		return nil, errors.New("is not a JSON object")
	}
	for key, raw := range values {
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw); err != nil {
			return nil, err
		}
		values[key] = compact.Bytes()
	}
	return values, nil
}

// fail notes a fault of the key's value, unless there is one already.
func (o *object) fail(key, format string, args ...any) {
	if *o.err == nil {
		*o.err = fmt.Errorf("%s%s %s", o.path, key, fmt.Sprintf(format, args...))
	}
}

func (o *object) raw(key string) (json.RawMessage, bool) {
	o.asked = append(o.asked, key)
	raw, given := o.values[key]
	return raw, given
}

// null says whether the key is absent or null.
func (o *object) null(key string) bool {
	raw, given := o.raw(key)
	return !given || string(raw) == "null"
}

// get is the value of a key; null is a value of the wrong type.
func get[T any](o *object, key string, absent T) T {
	raw, given := o.raw(key)
	if !given {
		return absent
	}
	var value T
	if err := unmarshal(raw, &value); err != nil || string(raw) == "null" {
		o.fail(key, "must be %s, not %s", kindOf(value), shorten(raw))
		return absent
	}
	return value
}

// need is the value of a key that must be there.
func need[T any](o *object, key string) T {
	var zero T
	if _, given := o.raw(key); !given {
		o.fail(key, "is missing")
	}
	return get(o, key, zero)
}

// between passes a number of the closed interval from low to high.
func between[T int | float64](o *object, key string, value, low, high T) T {
	if !(value >= low && value <= high) { // so that NaN is outside
		o.fail(key, "%v is outside %v…%v", value, low, high)
	}
	return value
}

// oneOf passes one of the strings that are served.
func oneOf(o *object, key, value string, served ...string) string {
	if !slices.Contains(served, value) {
		o.fail(key, "%q is not served; served: %s", value, strings.Join(served, ", "))
	}
	return value
}

// only refuses a setting that the service lacks, unless it is absent or one of the JSON values that do without.
func (o *object) only(key string, off ...string) {
	raw, given := o.raw(key)
	if given && !slices.ContainsFunc(off, func(value string) bool { return same(toPython(raw), value) }) {
		o.fail(key, "%s is not served; served: %s", shorten(raw), strings.Join(off, ", "))
	}
}

// child is the object under a key, empty if absent.
func (o *object) child(key string) *object {
	values := get(o, key, map[string]json.RawMessage{})
	return &object{path: o.path + key + ".", values: values, err: o.err}
}

// closed refuses keys that nobody asked for.
func (o *object) closed() {
	slices.Sort(o.asked)
	known := strings.Join(slices.Compact(o.asked), ", ")
	var strange []string
	for key := range o.values {
		if !slices.Contains(o.asked, key) {
			strange = append(strange, key)
		}
	}
	if len(strange) > 0 {
		o.fail(slices.Min(strange), "is unknown; known: %s", known)
	}
}

func kindOf(value any) string {
	switch value.(type) {
	case int:
		return "an integer"
	case float64:
		return "a number"
	case bool:
		return "true or false"
	case string:
		return "a string"
	case []float64:
		return "a list of numbers"
	case map[string]string:
		return "an object of strings"
	default:
		return "an object"
	}
}

// shorten fits a value from a file into a message.
func shorten(raw []byte) string {
	const most = 40
	text := []rune(toPython(raw))
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}
