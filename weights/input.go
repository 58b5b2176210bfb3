package weights

import (
	"fmt"
	"strconv"
	"strings"
)

// An Input is an input or output as the graph declares it.
type Input struct {
	Name  string
	Type  string  // of an element: float32, int64, …
	Shape []int64 // −1 where the graph leaves a dimension open; empty for a scalar, nil where the graph doesn't say
}

// String writes an input as its name, element type and shape, ? for an open dimension: sample float32[?,3,32,32].
func (in Input) String() string {
	if in.Shape == nil {
		return in.Name + " " + in.Type + " of unknown shape"
	}
	dims := make([]string, len(in.Shape))
	for i, d := range in.Shape {
		dims[i] = strconv.FormatInt(d, 10)
		if d < 0 {
			dims[i] = "?"
		}
	}
	return fmt.Sprintf("%s %s[%s]", in.Name, in.Type, strings.Join(dims, ","))
}

// checkShape refuses an input that contradicts unet/config.json, which gives it so many channels.
func (in Input) checkShape(net network, channels int) error {
	picture := []int64{-1, int64(channels), int64(net.height), int64(net.width)}
	for i, d := range in.Shape {
		if d == 0 || d > 0 && picture[i] > 0 && d != picture[i] {
			want := Input{in.Name, in.Type, picture}
			return fmt.Errorf("declares %s, but %s makes it %s", in, networkFile, want)
		}
	}
	return nil
}

// list writes inputs for a message, the first few if there are many.
func list(inputs []Input) string {
	const most = 8
	if len(inputs) == 0 {
		return "none"
	}
	var text []string
	for _, in := range inputs[:min(most, len(inputs))] {
		text = append(text, in.String())
	}
	if more := len(inputs) - most; more > 0 {
		text = append(text, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(text, ", ")
}
