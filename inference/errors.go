package inference

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says whose fault an error is and what can be done about it.
type Kind int

// The kinds of error that a request can meet.
const (
	Internal    Kind = iota // a fault of ours
	Invalid                 // a field has a value that cannot be served
	NotFound                // no such model
	Malformed               // the image cannot be read
	TooLarge                // the image has more pixels than the limit
	Unsupported             // the image is of a type that is not read
)

// Error is an error with a message for the client. What Err holds is for the log alone.
type Error struct {
	Kind   Kind
	Detail string
	Fields []FieldError // the fields at fault, where Kind is Invalid
	Err    error        // the cause, if there is one
}

// FieldError is a fault of one field of a request, with the values that would be allowed.
type FieldError struct {
	Field  string // as the contract spells it: "guidance_scale"
	Detail string
}

// Error implements error.
func (e *Error) Error() string {
	text := e.Detail
	for _, f := range e.Fields {
		text += "; " + f.Field + ": " + f.Detail
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return strings.TrimPrefix(text, "; ")
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf finds the kind of an error; one that has none is [Internal].
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// faults collects what is wrong with a request, so that its sender hears of everything at once.
type faults []FieldError

func (f *faults) add(field, format string, args ...any) {
	*f = append(*f, FieldError{Field: field, Detail: fmt.Sprintf(format, args...)})
}

func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return &Error{Kind: Invalid, Detail: "the request cannot be served as it stands", Fields: f}
}

// between reports a number outside its range.
func between[T int | float64](f *faults, field string, value, low, high T) {
	if !(value >= low && value <= high) {
		f.add(field, "is %v; allowed: %v to %v", value, low, high)
	}
}
