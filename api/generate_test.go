package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"mime"
	"mime/multipart"
	"regexp"
	"strings"
	"testing"

	"denoised/inference/inferencetest"
)

func TestGenerateForms(t *testing.T) {
	s := newService(t)
	const two = `{"label":["3","8"],"count":2,"seed":5,"steps":4}`
	single := func(label string, seed int) string {
		return s.read(s.send("POST", "/v1/generate", fmt.Sprintf(`{"label":%q,"seed":%d,"steps":4}`, label, seed)), 200)
	}
	first, second := single("3", 5), single("8", 6)

	t.Run("image/png is a sheet of several", func(t *testing.T) {
		response := s.send("POST", "/v1/generate", two)
		sheet, err := png.Decode(strings.NewReader(s.read(response, 200)))
		if err != nil || sheet.Bounds() != image.Rect(0, 0, 2*29+1, 30) {
			t.Fatalf("%v, %v", sheet.Bounds(), err)
		}
		for name, want := range map[string]string{
			"Content-Type": "image/png", "Seed": "5", "Denoised-Model": "digits", "Vary": "Accept", "Cache-Control": "no-store",
			"Server-Timing": `queue;dur=\d+\.\d, network;dur=\d+\.\d, encode;dur=\d+\.\d`, "X-Request-Id": "[a-z0-9]{16}",
		} {
			if got := response.Header.Get(name); !regexp.MustCompile("^" + want + "$").MatchString(got) {
				t.Errorf("%s: %s", name, got)
			}
		}
	})
	t.Run("application/json has every image", func(t *testing.T) {
		body := s.read(s.send("POST", "/v1/generate", two, "Accept", "application/json"), 200)
		var got drawn
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		if got.Model != "digits" || got.Sampler != "ddim" || got.Steps != 4 || got.Seed != 5 || len(got.Images) != 2 {
			t.Fatalf("%+v", got)
		}
		for i, want := range []drawnImage{{5, "3", []byte(first)}, {6, "8", []byte(second)}} {
			if got := got.Images[i]; got.Seed != want.Seed || got.Label != want.Label || !bytes.Equal(got.PNG, want.PNG) {
				t.Errorf("image %d: seed %d, label %s", i, got.Seed, got.Label)
			}
		}
	})
	t.Run("multipart/mixed has an image a part", func(t *testing.T) {
		response := s.send("POST", "/v1/generate", two, "Accept", "multipart/mixed")
		_, parameters, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		parts := multipart.NewReader(response.Body, parameters["boundary"])
		for i, want := range []string{first, second} {
			part, err := parts.NextPart()
			if err != nil {
				t.Fatal(err)
			}
			file, _ := io.ReadAll(part)
			if string(file) != want || part.Header.Get("Content-Type") != "image/png" || part.Header.Get("Seed") != fmt.Sprint(5+i) {
				t.Errorf("part %d: %v", i, part.Header)
			}
		}
		if _, err := parts.NextPart(); err != io.EOF {
			t.Errorf("behind the last part: %v", err)
		}
	})
	t.Run("application/x-npy is the tensor", func(t *testing.T) {
		body := s.read(s.send("POST", "/v1/generate", two, "Accept", "application/x-npy"), 200)
		if !strings.HasPrefix(body, "\x93NUMPY") || !strings.Contains(body, "'shape': (2, 1, 28, 28)") || len(body) != 128+2*28*28*4 {
			t.Errorf("%d bytes: %.128q", len(body), body)
		}
	})
}

// TestGenerateByQuery holds the two ways to ask for a picture against one another.
func TestGenerateByQuery(t *testing.T) {
	s := newService(t)
	for _, c := range []struct{ query, body string }{
		{"seed=1", `{"seed":1}`},
		{"seed=1.0&steps=1e1", `{"seed":1,"steps":10}`},
		{"label=7&seed=1&sampler=ddpm&steps=5&guidance_scale=1.5&scale=2", `{"label":"7","seed":1,"sampler":"ddpm","steps":5,"guidance_scale":1.5,"scale":2}`},
		{"label=7&label=2&count=3&seed=1&eta=0.25&size=28,28&model=digits", `{"label":["7","2"],"count":3,"seed":1,"eta":0.25,"size":[28,28],"model":"digits"}`},
	} {
		if got, want := s.read(s.get("/v1/generate?"+c.query), 200), s.read(s.send("POST", "/v1/generate", c.body), 200); got != want {
			t.Errorf("%s and %s draw different pictures", c.query, c.body)
		}
	}
}

// TestBodiesAreReadAsJSON sends what curl sends when it is not told a content type.
func TestBodiesAreReadAsJSON(t *testing.T) {
	s := newService(t)
	for _, headers := range [][]string{nil, {"Content-Type", "application/json; charset=utf-8"}, {"Content-Type", "application/x-www-form-urlencoded"}} {
		s.read(s.send("POST", "/v1/generate", `{"steps":1}`, headers...), 200)
	}
	s.read(s.send("POST", "/v1/generate", ""), 200)
}

func TestRandomSeedIsTold(t *testing.T) {
	s := newService(t)
	response := s.send("POST", "/v1/generate", `{"steps":3}`)
	drawn := s.read(response, 200)
	again := s.read(s.send("POST", "/v1/generate", fmt.Sprintf(`{"steps":3,"seed":%s}`, response.Header.Get("Seed"))), 200)
	if drawn != again {
		t.Error("the Seed header does not draw the picture again")
	}
}

func TestRevalidation(t *testing.T) {
	s := newService(t)
	response := s.get("/v1/generate?label=7&seed=1")
	tag := response.Header.Get("ETag")
	if !regexp.MustCompile(`^"[0-9a-f]{64}"$`).MatchString(tag) || response.Header.Get("Cache-Control") != "no-cache" {
		t.Fatalf("ETag %s, Cache-Control %s", tag, response.Header.Get("Cache-Control"))
	}
	s.network.Before = func(int) error { t.Error("a picture that the client holds is drawn again"); return nil }
	for _, condition := range []string{tag, "W/" + tag, `"other", ` + tag, "*"} {
		response := s.get("/v1/generate?seed=1&label=7&steps=10", "If-None-Match", condition)
		if body := s.read(response, 304); body != "" || response.Header.Get("ETag") != tag {
			t.Errorf("If-None-Match: %s: body of %d bytes", condition, len(body))
		}
	}
	s.network.Before = nil
	for _, c := range []struct{ name, target, accept string }{
		{"another seed", "/v1/generate?label=7&seed=2", "image/png"},
		{"another form", "/v1/generate?label=7&seed=1", "application/json"},
	} {
		response := s.get(c.target, "If-None-Match", tag, "Accept", c.accept)
		s.read(response, 200)
		if response.Header.Get("ETag") == tag {
			t.Errorf("%s has the same tag", c.name)
		}
	}
	if response := s.get("/v1/generate?label=7"); response.Header.Get("ETag") != "" || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("without a seed: %v", response.Header)
	}
}

func TestNegotiation(t *testing.T) {
	s := newService(t)
	for _, c := range []struct{ accept, want string }{
		{"", "image/png"},
		{"*/*", "image/png"},
		{"image/*", "image/png"},
		{"application/*", "application/json"},
		{"image/png;q=0.5, application/json", "application/json"},
		{"*/*;q=0.1, application/x-npy;q=0.2", "application/x-npy"},
		{"*/*, image/png;q=0", "application/json"},
		{"text/html, application/xhtml+xml, image/avif, image/webp, */*;q=0.8", "image/png"},
		{"IMAGE/PNG", "image/png"},
		{"nonsense, application/json;q=2, image/png", "image/png"},
	} {
		response := s.get("/v1/generate?seed=1&steps=1", "Accept", c.accept)
		s.read(response, 200)
		if got := response.Header.Get("Content-Type"); got != c.want {
			t.Errorf("Accept: %s gets %s, want %s", c.accept, got, c.want)
		}
	}
}

func TestDenoiseAndNoise(t *testing.T) {
	s := newService(t)
	clean := inferencetest.GreyPNG(t, 28, 28, 128)
	response := s.send("POST", "/v1/noise?sigma=30&sigma=40&seed=3", clean)
	noisy := s.read(response, 200)
	if response.Header.Get("Seed") != "3" || response.Header.Get("Content-Type") != "image/png" {
		t.Errorf("noise: %v", response.Header)
	}
	response = s.send("POST", "/v1/denoise", noisy, "Content-Type", "image/png")
	cleaned := s.read(response, 200)
	if got := response.Header.Get("Denoised-Sigma"); !regexp.MustCompile(`^(4[5-9]|5[0-5])(\.\d+)?$`).MatchString(got) {
		t.Errorf("noise of σ = 50 is estimated as %s", got)
	}
	if before, after := inferencetest.Difference(t, clean, noisy), inferencetest.Difference(t, clean, cleaned); before < 45 || after > 0.6*before {
		// The exact network's data varies by 0.4·127.5 itself, so that it can take away only half of this noise.
		t.Errorf("the picture is off by %.1f before and by %.1f after", before, after)
	}
	form := "--x\r\nContent-Disposition: form-data; name=\"image\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n" + noisy + "\r\n--x--\r\n"
	if got := s.read(s.send("POST", "/v1/denoise", form, "Content-Type", "multipart/form-data; boundary=x"), 200); got != cleaned {
		t.Error("the same image in a form gives another answer")
	}
}
