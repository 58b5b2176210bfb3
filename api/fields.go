package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// field reads one field of a request into a T. The same table of fields decodes a JSON body and a query, so the two
// cannot drift apart.
type field[T any] struct {
	// fromQuery turns the parameter's text into the JSON value that set takes.
	fromQuery func(text string) any
	repeated  bool // the query may give it several times; fromQuery's values then reach set as a list
	// set stores a JSON value, or says what is wrong with it.
	set func(target *T, v any) (wrong string)
}

func asText(text string) any   { return text }
func asNumber(text string) any { return json.Number(text) }

// asNumbers reads "28,28".
func asNumbers(text string) any {
	var list []any
	for part := range strings.SplitSeq(text, ",") {
		list = append(list, json.Number(part))
	}
	return list
}

func textField[T any](store func(*T, string)) field[T] {
	return field[T]{fromQuery: asText, set: func(target *T, v any) string {
		text, ok := v.(string)
		if !ok {
			return wrongType(v, "a string")
		}
		store(target, text)
		return ""
	}}
}

// integerField takes whole numbers from low to high, however they are written: 1.0 and 1e1 are integers too.
func integerField[T any](low, high int64, store func(*T, int64)) field[T] {
	return field[T]{fromQuery: asNumber, set: func(target *T, v any) string {
		n, wrong := integer(v, low, high)
		if wrong == "" {
			store(target, n)
		}
		return wrong
	}}
}

func numberField[T any](store func(*T, float64)) field[T] {
	return field[T]{fromQuery: asNumber, set: func(target *T, v any) string {
		n, wrong := number(v)
		if wrong == "" {
			store(target, n)
		}
		return wrong
	}}
}

func number(v any) (n float64, wrong string) {
	text, ok := v.(json.Number)
	if !ok {
		return 0, wrongType(v, "a number")
	}
	n, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !json.Valid([]byte(text)) {
		return 0, wrongType(v, "a number")
	}
	return n, ""
}

func integer(v any, low, high int64) (n int64, wrong string) {
	f, wrong := number(v)
	if wrong != "" {
		return 0, wrongType(v, "an integer")
	}
	if f != float64(int64(f)) || f < float64(low) || f > float64(high) {
		return 0, fmt.Sprintf("is %s; allowed: the integers from %d to %d", v, low, high)
	}
	return int64(f), ""
}

func wrongType(v any, allowed string) string {
	switch v := v.(type) {
	case nil:
		return fmt.Sprintf("is null; allowed: %s, or to leave the field out", allowed)
	case string:
		return fmt.Sprintf("is %s; allowed: %s", quoted(v), allowed)
	case json.Number:
		return fmt.Sprintf("is %s; allowed: %s", quoted(string(v)), allowed)
	case bool:
		return fmt.Sprintf("is %t; allowed: %s", v, allowed)
	case []any:
		return fmt.Sprintf("is a list; allowed: %s", allowed)
	}
	return fmt.Sprintf("is an object; allowed: %s", allowed)
}

// quoted is a client's text as it goes into an answer: escaped, and no longer than it need be to be recognised.
func quoted(text string) string {
	if runes := []rune(text); len(runes) > 80 {
		text = string(runes[:80]) + "…"
	}
	return strconv.Quote(text)
}

// decodeJSON reads an object strictly: no unknown, repeated or null fields and nothing behind it. An empty body is an
// empty object. What is wrong with single fields comes back as faults, each with its pointer; a body that is not JSON at
// all is an error.
func decodeJSON[T any](body io.Reader, fields map[string]field[T], target *T) ([]fault, error) {
	text, err := readBody(body, 0)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if !json.Valid(text) {
		err := decoder.Decode(new(any))
		if err == nil {
			err = errors.New("there is more behind the first value")
		}
		return nil, refuse(http.StatusBadRequest, "the body is not JSON: %v", err)
	}
	if first, _ := decoder.Token(); first != json.Delim('{') {
		return []fault{{Pointer: "#", Detail: "the body is not an object; allowed: an object with the fields of the request"}}, nil
	}
	var faults []fault
	var seen []string
	for decoder.More() && len(faults) < maxFaults {
		name, value := nextField(decoder)
		wrong := ""
		switch known, ok := fields[name]; {
		case !ok:
			wrong = unknownField(fields)
		case slices.Contains(seen, name):
			wrong = "is given twice"
		default:
			wrong = known.set(target, value)
			seen = append(seen, name)
		}
		if wrong != "" {
			faults = append(faults, fault{Pointer: pointer(name), Detail: wrong})
		}
	}
	return faults, nil
}

// maxFaults is how many faults of one body are told: more help nobody, and a body may be made of nothing else.
const maxFaults = 32

// readBody reads all that a client sends, announced bytes of it where that is known; 0 is not. What goes wrong is the
// client's doing: too much of it, or less than announced. Room for all is made when an eighth is there, so that a large
// body leaves little behind as it grows, and a mere announcement takes none.
func readBody(body io.Reader, announced int64) ([]byte, error) {
	var content bytes.Buffer
	_, err := io.CopyN(&content, body, announced/8)
	if err == nil {
		content.Grow(int(announced) - content.Len() + bytes.MinRead)
		_, err = content.ReadFrom(body)
	}
	if err != nil && err != io.EOF {
		return nil, unreadable(err, "the body cannot be read to its end")
	}
	return content.Bytes(), nil
}

// unreadable blames the client for an error in reading what it sends. The error of a body too large stays as it is.
func unreadable(err error, what string) error {
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return err
	}
	return refuse(http.StatusBadRequest, "%s: %v", what, err)
}

// nextField reads a name and its value from text that is known to be valid.
func nextField(decoder *json.Decoder) (name string, value any) {
	token, _ := decoder.Token()
	name, _ = token.(string)
	_ = decoder.Decode(&value)
	return name, value
}

// pointer is the JSON pointer to a field, as a URI fragment (RFC 6901, section 6).
func pointer(name string) string {
	if runes := []rune(name); len(runes) > 80 {
		name = string(runes[:80])
	}
	return "#/" + url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
}

func unknownField[T any](fields map[string]field[T]) string {
	return "is unknown; allowed: " + strings.Join(names(fields), ", ")
}

func names[T any](fields map[string]field[T]) []string {
	var names []string
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// decodeQuery reads the same fields from a query.
func decodeQuery[T any](raw string, fields map[string]field[T], target *T) ([]fault, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the query cannot be read: %v", err)
	}
	var faults []fault
	for name, values := range query {
		wrong := ""
		switch known, ok := fields[name]; {
		case !ok:
			wrong = unknownField(fields)
		case known.repeated:
			var list []any
			for _, text := range values {
				list = append(list, known.fromQuery(text))
			}
			wrong = known.set(target, list)
		case len(values) > 1:
			wrong = "is given twice"
		default:
			wrong = known.set(target, known.fromQuery(values[0]))
		}
		if wrong != "" {
			faults = append(faults, fault{Parameter: name, Detail: wrong})
		}
	}
	slices.SortFunc(faults, func(a, b fault) int { return strings.Compare(a.Parameter, b.Parameter) })
	return faults, nil
}
