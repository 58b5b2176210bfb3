package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"denoised/inference/inferencetest"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the scripts call this program by its name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"denoised": main})
}

// TestScripts runs testdata/*.txt, which read like the manual.
func TestScripts(t *testing.T) {
	weights, err := filepath.Abs("../../weights")
	if err != nil {
		t.Fatal(err)
	}
	library, err := filepath.Abs("../../.onnxruntime/libonnxruntime.so.1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(library); err != nil {
		t.Fatalf("%v; fetch it with `make .onnxruntime/libonnxruntime.so.1`", err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("WEIGHTS", weights)
			env.Setenv("DENOISED_ONNXRUNTIME", library)
			return nil
		},
	})
}

// process is a running `denoised serve`.
type process struct {
	url    string
	stop   context.CancelFunc
	status chan int
	log    *logBuffer
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// The process has room for one onnxruntime, so the tests of the whole program share one service.
var shared = sync.OnceValue(func() *process {
	ctx, stop := context.WithCancel(context.Background())
	p := &process{stop: stop, status: make(chan int, 1), log: &logBuffer{}}
	go func() {
		p.status <- run(ctx, []string{"serve", "--weights", "../../weights", "--listen", "localhost:0", "--device", "cpu"}, io.Discard, p.log)
	}()
	address := regexp.MustCompile(`"address":"([^"]+)"`)
	for range 200 {
		if found := address.FindStringSubmatch(p.log.String()); found != nil {
			p.url = "http://" + found[1]
			return p
		}
		time.Sleep(100 * time.Millisecond)
	}
	return p
})

func service(t *testing.T) *process {
	t.Helper()
	p := shared()
	if p.url == "" {
		t.Fatalf("the service did not start: %s", p.log)
	}
	return p
}

func (p *process) post(t *testing.T, path, body string, headers ...string) (status int, answer string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(read)
}

// TestServe is the whole path, from a request to a digit of the trained network and back: it draws, draws the same bytes
// again, and cleans what it made noisy.
func TestServe(t *testing.T) {
	p := service(t)
	status, seven := p.post(t, "/v1/generate", `{"label":"7","seed":1}`)
	if status != 200 || !strings.HasPrefix(seven, "\x89PNG") {
		t.Fatalf("status %d: %.200s", status, seven)
	}
	if _, again := p.post(t, "/v1/generate", `{"label":"7","seed":1}`); again != seven {
		t.Error("the same request gives other bytes")
	}
	status, noisy := p.post(t, "/v1/noise?sigma=50&seed=1", seven)
	if status != 200 {
		t.Fatalf("noise: status %d: %s", status, noisy)
	}
	status, clean := p.post(t, "/v1/denoise?model=digits&sigma=50", noisy)
	if status != 200 {
		t.Fatalf("denoise: status %d: %s", status, clean)
	}
	before, after := inferencetest.Difference(t, seven, noisy), inferencetest.Difference(t, seven, clean)
	if after > before/2 {
		t.Errorf("the digit is off by %.1f when noisy and by %.1f when cleaned", before, after)
	}
	if log := p.log.String(); !strings.Contains(log, `"models":["digits","photo"],"device":"cpu","runtime":"onnxruntime 1.27.0","threads":`) {
		t.Errorf("the first line does not say what is served: %s", log)
	}
}

// TestStop ends the service while requests are under way: they are answered, new ones are refused or not let in, and the
// exit status is 0. It comes last, since the service is shared.
func TestStop(t *testing.T) {
	p := service(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if status, answer := p.post(t, "/v1/generate", `{"label":"3","steps":40}`); status != 200 {
				t.Errorf("a request under way got status %d: %s", status, answer)
			}
		})
	}
	deadline := time.Now().Add(20 * time.Second)
	for !trajectories(t, p, "8") && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	p.stop()
	group.Wait()
	if status := <-p.status; status != 0 {
		t.Errorf("exit status %d: %s", status, p.log)
	}
	if _, err := http.Get(p.url + "/livez"); err == nil {
		t.Error("the service still listens")
	}
}

func trajectories(t *testing.T, p *process, want string) bool {
	t.Helper()
	response, err := http.Get(p.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return strings.Contains(string(body), `denoised_trajectories{model="digits"} `+want+"\n")
}
