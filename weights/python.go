package weights

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// Python's json writes numbers that JSON lacks: DPMSolverMultistepScheduler has "lambda_min_clipped": -Infinity. They are
// read as the strings "-Infinity", "Infinity" and "NaN", which mean the same wherever a number is asked for.
var (
	// Strings are found as well as bare words, so that a word inside one stays as it is.
	stringOrWord = regexp.MustCompile(`"(?:[^"\\]|(?s:\\.))*"|[\w.+-]+`)
	unquote      = strings.NewReplacer(`"-Infinity"`, `-Infinity`, `"Infinity"`, `Infinity`, `"NaN"`, `NaN`)
)

// fromPython makes JSON of what Python's json wrote.
func fromPython(text []byte) []byte {
	return stringOrWord.ReplaceAllFunc(text, func(found []byte) []byte {
		switch string(found) {
		case "-Infinity", "Infinity", "NaN":
			return strconv.AppendQuote(nil, string(found))
		}
		return found
	})
}

// toPython is the text that fromPython was given, for messages.
func toPython(text []byte) string {
	return unquote.Replace(string(text))
}

// unmarshal is json.Unmarshal for what came from Python.
func unmarshal(raw []byte, value any) error {
	number, isNumber := value.(*float64)
	if bare := toPython(raw); isNumber && bare != string(raw) {
		var err error
		*number, err = strconv.ParseFloat(bare, 64)
		return err
	}
	return json.Unmarshal(raw, value)
}

// same says whether two values are written alike or are the same number, as 10 and 10.0 are.
func same(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && x == y
}
