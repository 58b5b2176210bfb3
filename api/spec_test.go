package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"denoised/inference/inferencetest"

	"github.com/go-chi/chi/v5"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi/datamodel/high/base"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"
	"github.com/pb33f/libopenapi/orderedmap"
)

// contractOf reads openapi.yaml, and makes the validator that holds messages against it.
func contractOf(t *testing.T) (*v3.Document, validator.Validator) {
	t.Helper()
	document, err := libopenapi.NewDocument(contract)
	if err != nil {
		t.Fatal(err)
	}
	model, err := document.BuildV3Model()
	if err != nil {
		t.Fatal(err)
	}
	check, faults := validator.NewValidator(document)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	return &model.Model, check
}

// TestContractIsServed checks that the copy built into the binary is the file at the top of the repository: go generate
// makes it.
func TestContractIsServed(t *testing.T) {
	file, err := os.ReadFile("../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := newService(t)
	if got := s.read(s.get("/openapi.yaml"), 200); got != string(file) {
		t.Error("openapi.gen.yaml is another file than ../openapi.yaml; run go generate ./api")
	}
}

// TestRoutesAreTheContracts walks the router and the contract.
func TestRoutesAreTheContracts(t *testing.T) {
	document, _ := contractOf(t)
	var promised, served []string
	for path, item := range document.Paths.PathItems.FromOldest() {
		for method := range item.GetOperations().FromOldest() {
			promised = append(promised, strings.ToUpper(method)+" "+path)
		}
	}
	err := chi.Walk(newService(t).routes(), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		served = append(served, method+" "+route)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(promised)
	slices.Sort(served)
	if !slices.Equal(promised, served) {
		t.Errorf("promised %v\nserved   %v", promised, served)
	}
}

// TestFieldsAreTheContracts compares the decoder's tables with the contract's fields and parameters.
func TestFieldsAreTheContracts(t *testing.T) {
	document, _ := contractOf(t)
	parametersOf := func(operation *v3.Operation) (names []string) {
		for _, p := range operation.Parameters {
			if p.In == "query" {
				names = append(names, p.Name)
			}
		}
		slices.Sort(names)
		return names
	}
	var body []string
	for name := range document.Components.Schemas.GetOrZero("GenerateRequest").Schema().Properties.FromOldest() {
		body = append(body, name)
	}
	slices.Sort(body)
	path := func(p string) *v3.PathItem { return document.Paths.PathItems.GetOrZero(p) }
	for _, c := range []struct {
		what           string
		promised, read []string
	}{
		{"POST /v1/generate", body, names(generateFields)},
		{"GET /v1/generate", parametersOf(path("/v1/generate").Get), names(generateFields)},
		{"POST /v1/denoise", parametersOf(path("/v1/denoise").Post), names(denoiseFields)},
		{"POST /v1/noise", parametersOf(path("/v1/noise").Post), names(noiseFields)},
	} {
		if !slices.Equal(c.promised, c.read) {
			t.Errorf("%s promises %v and reads %v", c.what, c.promised, c.read)
		}
	}
}

// TestExamplesAreServed sends every request that the contract shows, once for each media type of its answer, and holds
// the request and the answer against the contract.
func TestExamplesAreServed(t *testing.T) {
	document, check := contractOf(t)
	s := newService(t)
	sent := 0
	for path, item := range document.Paths.PathItems.FromOldest() {
		for method, operation := range item.GetOperations().FromOldest() {
			for _, name := range exampleNames(operation) {
				for media := range operation.Responses.Codes.GetOrZero("200").Content.FromOldest() {
					t.Run(fmt.Sprintf("%s %s %s %s", method, path, name, media), func(t *testing.T) {
						s.t = t
						r := s.example(strings.ToUpper(method), path, operation, name)
						r.Header.Set("Accept", media)
						if ok, faults := check.ValidateHttpRequest(r); !ok {
							t.Fatalf("the request: %v", faults)
						}
						w := httptest.NewRecorder()
						s.ServeHTTP(w, r)
						response := w.Result()
						if response.StatusCode != 200 || !strings.HasPrefix(response.Header.Get("Content-Type"), media) {
							t.Fatalf("status %d, %s: %.300s", response.StatusCode, response.Header.Get("Content-Type"), w.Body)
						}
						for header, promise := range operation.Responses.Codes.GetOrZero("200").Headers.FromOldest() {
							if promise.Required && response.Header.Get(header) == "" {
								t.Errorf("the header %s is missing", header)
							}
						}
						if ok, faults := check.ValidateHttpResponse(r, response); !ok {
							t.Errorf("the answer: %v", faults)
						}
					})
					sent++
				}
			}
		}
	}
	if sent < 30 {
		t.Errorf("the contract shows %d requests only", sent)
	}
}

// TestProblemsAreTheContracts holds answers to bad requests against the contract.
func TestProblemsAreTheContracts(t *testing.T) {
	_, check := contractOf(t)
	s := newService(t)
	for _, c := range []struct {
		method, target, body string
		status               int
	}{
		{"POST", "/v1/generate", `{`, 400}, {"POST", "/v1/generate", `{"model":"x"}`, 404}, {"POST", "/v1/generate", `{"label":"x","Steps":1}`, 422},
		{"GET", "/v1/generate?count=65", "", 422}, {"GET", "/v1/models/x", "", 404}, {"POST", "/v1/denoise", "x", 415},
		{"POST", "/v1/denoise?steps=0", inferencetest.GreyPNG(t, 5, 5, 5), 422}, {"POST", "/v1/noise", inferencetest.GreyPNG(t, 5, 5, 5), 422},
	} {
		r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s %s %s: status %d", c.method, c.target, c.body, w.Code)
		}
		if ok, faults := check.ValidateHttpResponse(r, w.Result()); !ok {
			t.Errorf("%s %s %s: %v", c.method, c.target, c.body, faults)
		}
	}
}

// exampleNames lists the requests that an operation shows: a name is shared by a body and the parameters that go with
// it. An operation without any is shown by calling it.
func exampleNames(operation *v3.Operation) (names []string) {
	add := func(examples *orderedmap.Map[string, *base.Example]) {
		for name := range examples.FromOldest() {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	for _, p := range operation.Parameters {
		add(p.Examples)
	}
	if operation.RequestBody != nil {
		for _, media := range operation.RequestBody.Content.FromOldest() {
			add(media.Examples)
		}
	}
	if names == nil {
		names = []string{""}
	}
	return names
}

// example builds the request that an operation shows under a name.
func (s *service) example(method, path string, operation *v3.Operation, name string) *http.Request {
	s.t.Helper()
	query := url.Values{}
	for _, p := range operation.Parameters {
		example := p.Examples.GetOrZero(name)
		if example == nil {
			continue
		}
		values := s.textsOf(example)
		if p.Explode != nil && !*p.Explode {
			values = []string{strings.Join(values, ",")}
		}
		if p.In == "path" {
			path = strings.ReplaceAll(path, "{"+p.Name+"}", values[0])
			continue
		}
		query[p.Name] = values
	}
	var body io.Reader = http.NoBody
	contentType := ""
	if operation.RequestBody != nil {
		for media, content := range operation.RequestBody.Content.FromOldest() {
			if example := content.Examples.GetOrZero(name); example != nil {
				body, contentType = bytes.NewReader(s.bytesOf(example)), media
			}
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	r := httptest.NewRequest(method, path, body)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

// bytesOf is an example as a body: its value as JSON, or what the service answers at its external address.
func (s *service) bytesOf(example *base.Example) []byte {
	s.t.Helper()
	if example.ExternalValue != "" {
		return []byte(s.read(s.get(example.ExternalValue), 200))
	}
	var value any
	if err := example.Value.Decode(&value); err != nil {
		s.t.Fatal(err)
	}
	body, err := json.Marshal(value)
	if err != nil {
		s.t.Fatal(err)
	}
	return body
}

// textsOf is an example as a parameter's text, a list as several.
func (s *service) textsOf(example *base.Example) (texts []string) {
	s.t.Helper()
	var value any
	if err := example.Value.Decode(&value); err != nil {
		s.t.Fatal(err)
	}
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for _, v := range list {
		texts = append(texts, fmt.Sprint(v))
	}
	return texts
}
