package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"denoised/inference/inferencetest"
)

const allowedFields = "is unknown; allowed: count, eta, guidance_rescale, guidance_scale, label, model, sampler, scale, schedule, " +
	"seed, size, spacing, steps, steps_offset, timesteps"

// TestRefusals has one mistake a request, and all that its problem document says of it.
func TestRefusals(t *testing.T) {
	s := newService(t)
	own := inferencetest.GreyPNG(t, 28, 28, 100)
	const unservable = "the request cannot be served as it stands"
	for _, c := range []struct {
		name                 string
		method, target, body string
		headers              []string
		status               int
		detail               string
		faults               []fault
	}{
		{"unknown route", "GET", "/v2/generate", "", nil, 404, "no such route; /openapi.yaml lists those there are", nil},
		{"unknown model", "GET", "/v1/models/letters", "", nil, 404, `no model is called "letters"; served: digits`, nil},
		{"unknown model to draw with", "POST", "/v1/generate", `{"model":"letters"}`, nil, 404, `no model is called "letters"; served: digits`, nil},
		{"method", "DELETE", "/v1/generate", "", nil, 405, "allowed here: GET, POST", nil},
		{"not JSON", "POST", "/v1/generate", `{"steps":`, nil, 400, "the body is not JSON: unexpected EOF", nil},
		{"two values", "POST", "/v1/generate", `{} {}`, nil, 400, "the body is not JSON: there is more behind the first value", nil},
		{"text", "POST", "/v1/generate", "draw a seven", []string{"Content-Type", "text/plain"}, 415,
			`a body of the type "text/plain" is not read here; allowed: application/json`, nil},
		{"no object", "POST", "/v1/generate", `[7]`, nil, 422, unservable,
			[]fault{{"#", "", "the body is not an object; allowed: an object with the fields of the request"}}},
		{"unknown field", "POST", "/v1/generate", `{"Steps":5}`, nil, 422, unservable, []fault{{"#/Steps", "", allowedFields}}},
		{"unknown field with a slash", "POST", "/v1/generate", `{"a/b~ c":5}`, nil, 422, unservable, []fault{{"#/a~1b~0%20c", "", allowedFields}}},
		{"repeated field", "POST", "/v1/generate", `{"steps":5,"steps":6}`, nil, 422, unservable, []fault{{"#/steps", "", "is given twice"}}},
		{"null", "POST", "/v1/generate", `{"seed":null}`, nil, 422, unservable,
			[]fault{{"#/seed", "", "is null; allowed: an integer, or to leave the field out"}}},
		{"a string for a number", "POST", "/v1/generate", `{"steps":"5"}`, nil, 422, unservable,
			[]fault{{"#/steps", "", `is "5"; allowed: an integer`}}},
		{"a fraction for an integer", "POST", "/v1/generate", `{"seed":1.5}`, nil, 422, unservable,
			[]fault{{"#/seed", "", "is 1.5; allowed: the integers from 0 to 4294967295"}}},
		{"a seed of more than 32 bits", "POST", "/v1/generate", `{"seed":4294967296}`, nil, 422, unservable,
			[]fault{{"#/seed", "", "is 4294967296; allowed: the integers from 0 to 4294967295"}}},
		{"a number that no float holds", "POST", "/v1/generate", `{"eta":1e999}`, nil, 422, unservable,
			[]fault{{"#/eta", "", `is "1e999"; allowed: a number`}}},
		{"negative steps", "POST", "/v1/generate", `{"steps":-3}`, nil, 422, unservable, []fault{{"#/steps", "", "is -3; allowed: 1 to 1000"}}},
		{"unknown label", "POST", "/v1/generate", `{"label":"ten"}`, nil, 422, unservable,
			[]fault{{"#/label", "", `"ten" is unknown; allowed: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9`}}},
		{"a number for a label", "POST", "/v1/generate", `{"label":[7]}`, nil, 422, unservable,
			[]fault{{"#/label", "", `is "7"; allowed: a label, which is a string, or a list of labels`}}},
		{"no labels", "POST", "/v1/generate", `{"label":[]}`, nil, 422, unservable,
			[]fault{{"#/label", "", "is an empty list; allowed: a label, or a list of at least one"}}},
		{"size", "POST", "/v1/generate", `{"size":[28]}`, nil, 422, unservable,
			[]fault{{"#/size", "", "is not a list of two; allowed: [height, width]"}}},
		{"every fault at once", "POST", "/v1/generate", `{"steps":"5","count":0,"size":[0,28]}`, nil, 422, unservable, []fault{
			{"#/steps", "", `is "5"; allowed: an integer`},
			{"#/size", "", "its height is 0; allowed: the integers from 1 to 4096"},
			{"#/count", "", "is 0; allowed: 1 to 64"}}},
		{"fields of a POST in its query", "POST", "/v1/generate?steps=5", "", nil, 422, unservable,
			[]fault{{"", "steps", "the fields of a POST go into its body"}}},
		{"a sheet too large", "POST", "/v1/generate", `{"count":64,"scale":16}`, nil, 422, unservable,
			[]fault{{"#/count", "", "gives a sheet of 13897984 pixels; allowed: at most 4194304, or to ask for application/json"}}},
		{"unknown parameter", "GET", "/v1/generate?Steps=5", "", nil, 422, unservable, []fault{{"", "Steps", allowedFields}}},
		{"repeated parameter", "GET", "/v1/generate?steps=5&steps=6", "", nil, 422, unservable, []fault{{"", "steps", "is given twice"}}},
		{"a word for a number", "GET", "/v1/generate?steps=five", "", nil, 422, unservable, []fault{{"", "steps", `is "five"; allowed: an integer`}}},
		{"a broken query", "GET", "/v1/generate?label=%zz", "", nil, 400, `the query cannot be read: invalid URL escape "%zz"`, nil},
		{"nothing acceptable", "GET", "/v1/generate", "", []string{"Accept", "text/event-stream"}, 406,
			"none of the types in Accept is served here; allowed: image/png, application/json, multipart/mixed, application/x-npy", nil},
		{"another site's page", "GET", "/v1/generate", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "browsers may not send requests from other sites", nil},
		{"another site's form", "POST", "/v1/generate", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "browsers may not send requests from other sites", nil},
		{"a long body", "POST", "/v1/generate", strings.Repeat(" ", 1<<16+1), nil, 413, "the body is larger than 65536 bytes", nil},
		{"an image of too many bytes", "POST", "/v1/denoise", strings.Repeat(" ", 1<<20+1), nil, 413, "the body is larger than 1048576 bytes", nil},
		{"a form whose part has no end", "POST", "/v1/denoise", "--x\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\n1",
			[]string{"Content-Type", "multipart/form-data; boundary=x"}, 400, "the body cannot be read to its end: unexpected EOF", nil},
		{"no image", "POST", "/v1/denoise", "", nil, 400, "the body is empty; it should be the image", nil},
		{"not an image", "POST", "/v1/denoise", "GIF89a", nil, 415,
			"the body is not an image that is read here; allowed: image/png, image/jpeg, image/webp", nil},
		{"an image by name", "POST", "/v1/denoise", "GIF89a", []string{"Content-Type", "image/gif"}, 415,
			`a body of the type "image/gif" is not read here; allowed: image/png, image/jpeg, image/webp, multipart/form-data`, nil},
		{"a damaged image", "POST", "/v1/denoise", own[:40], nil, 400, "the image cannot be read: unexpected EOF", nil},
		{"a bomb", "POST", "/v1/denoise", inferencetest.Claiming(own, 10000, 10000), nil, 413,
			"the image is 10000×10000 pixels; allowed: at most 4194304 pixels in all", nil},
		{"sigma", "POST", "/v1/denoise?sigma=300", own, nil, 422, unservable, []fault{{"", "sigma", "is 300; allowed: 0 to 255"}}},
		{"label for denoising", "POST", "/v1/denoise?label=7", own, nil, 422, unservable,
			[]fault{{"", "label", "is unknown; allowed: model, sampler, seed, sigma, steps"}}},
		{"no amount of noise", "POST", "/v1/noise", own, nil, 422, unservable,
			[]fault{{"", "sigma", "is missing; say how much noise to add, by sigma or by timestep"}}},
		{"a form without the part", "POST", "/v1/denoise", "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n1\r\n--x--\r\n",
			[]string{"Content-Type", "multipart/form-data; boundary=x"}, 422, "the form cannot be served as it stands",
			[]fault{{"#/file", "", "allowed: one part, called image"}}},
		{"a form without an end", "POST", "/v1/denoise", "--x\r\nContent-", []string{"Content-Type", "multipart/form-data; boundary=x"}, 400,
			"the form cannot be read: malformed MIME header: missing colon: \"Content-\"", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			response := s.send(c.method, c.target, c.body, c.headers...)
			body := s.read(response, c.status)
			if got := response.Header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("content type %s", got)
			}
			var got problem
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if got.Type != "about:blank" || got.Title != http.StatusText(c.status) || got.Status != c.status || got.Detail != c.detail {
				t.Errorf("got %s", body)
			}
			if id := response.Header.Get("X-Request-Id"); got.RequestID != id || id == "" {
				t.Errorf("request id %q in the header, %q in the body", id, got.RequestID)
			}
			if len(got.Errors) != len(c.faults) {
				t.Fatalf("errors %+v", got.Errors)
			}
			for i := range c.faults {
				if got.Errors[i] != c.faults[i] {
					t.Errorf("error %+v\nwant  %+v", got.Errors[i], c.faults[i])
				}
			}
		})
	}
	s.t = t
	if body := s.read(s.get("/v1/generate?seed=1"), 200); body == "" {
		t.Error("the service does not go on")
	}
}

// TestOurFault has the network fail: the client hears nothing of the cause, and the log has it under the same id.
func TestOurFault(t *testing.T) {
	s := newService(t)
	s.network.Before = func(int) error { return errors.New("out of order") }
	response := s.get("/v1/generate", "X-Request-Id", "mine-1")
	body := s.read(response, 500)
	if strings.Contains(body, "order") || !strings.Contains(body, `"request_id":"mine-1"`) {
		t.Errorf("body %s", body)
	}
	if log := s.log.String(); !strings.Contains(log, "out of order") || !strings.Contains(log, `"request_id":"mine-1"`) {
		t.Errorf("log %s", log)
	}
}

func TestUnsoundRequestIDIsReplaced(t *testing.T) {
	s := newService(t)
	for _, id := range []string{"a b", "é", strings.Repeat("x", 65), "{}"} {
		if got := s.get("/livez", "X-Request-Id", id).Header.Get("X-Request-Id"); got == id || len(got) != 16 {
			t.Errorf("%q became %q", id, got)
		}
	}
}

// TestManyFaultsAreCounted sends a body of nothing but mistakes: the answer stays small.
func TestManyFaultsAreCounted(t *testing.T) {
	s := newService(t)
	body := s.read(s.send("POST", "/v1/generate", "{"+strings.Repeat(`"a":1,`, 5000)+`"b":1}`), 422)
	if n := strings.Count(body, `"pointer"`); n != maxFaults {
		t.Errorf("%d faults are told", n)
	}
}
