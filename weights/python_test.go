package weights

import (
	"math"
	"testing"
)

var inf = math.Inf(1)

func TestPythonsNumbersAreRead(t *testing.T) {
	for text, want := range map[string]float64{
		`{"key": Infinity}`:  inf,
		`{"key": -Infinity}`: -inf,
		`{"before": "a \" NaN, Infinity", "key":-Infinity}`:   -inf,
		`{"before": "ends in a backslash \\", "key": NaN}`:    math.NaN(),
		`{"before": [NaN, {"Infinity": -Infinity}], "key":1}`: 1,
	} {
		values, err := parseObject([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		o := object{values: values, err: new(error)}
		got := get(&o, "key", 0.0)
		if *o.err != nil || got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
			t.Errorf("%s: read as %v (%v), want %v", text, got, *o.err, want)
		}
	}
}

func TestStringsWithPythonsNumbersStayAsTheyAre(t *testing.T) {
	const text = `say \"NaN\", -Infinity and \\ Infinity`
	values, err := parseObject([]byte(`{"NaN": -Infinity, "key": "` + text + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(values["key"]); got != `"`+text+`"` {
		t.Errorf("the string became %s", got)
	}
	if _, found := values["NaN"]; !found {
		t.Error("the key NaN is no more")
	}
}

func TestMistakesAreToldAsTheFileHasThem(t *testing.T) {
	for text, want := range map[string]string{
		`{"a": -Infinity; "b": 1}`: "line 1, column 16: invalid character ';' after object key:value pair",
		`{"a": 1Infinity}`:         "line 1, column 8: invalid character 'I' after object key:value pair",
		`{"a": +Infinity}`:         "line 1, column 7: invalid character '+' looking for beginning of value",
	} {
		if _, err := parseObject([]byte(text)); err == nil || err.Error() != want {
			t.Errorf("%s: said %v\nwant %s", text, err, want)
		}
	}
}
