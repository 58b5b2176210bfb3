package weights

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestChecksumCoversWhatDecidesAPicture(t *testing.T) {
	for file, decides := range map[string]bool{
		"model_index.json":                          true,
		"unet/config.json":                          true,
		"scheduler/scheduler_config.json":           true,
		"unet/model.onnx":                           true,
		"unet/model.onnx.data":                      true,
		"unet/diffusion_pytorch_model.safetensors":  false,
		"README.md":                                 false,
		"scheduler/something_else_of_the_exporters": false,
	} {
		dir := bundle(t, "variants/external-data")
		before := checksum(t, dir)
		path := filepath.Join(dir, file)
		content, err := os.ReadFile(path)
		if err != nil && decides {
			t.Fatal(err)
		}
		// Blanks after a JSON object, bytes after the weights and an unknown field after the graph change no meaning.
		tail := " "
		if strings.HasSuffix(file, ".onnx") {
			tail = "\xf8\x3f\x01"
		}
		if err := write(path, append(content, tail...)); err != nil {
			t.Fatal(err)
		}
		if changed := checksum(t, dir) != before; changed != decides {
			t.Errorf("%s: the checksum changed: %v, want %v", file, changed, decides)
		}
	}
}

func TestChecksumWithoutAnIndexIsAnother(t *testing.T) {
	dir := bundle(t)
	before := checksum(t, dir)
	if err := os.Remove(filepath.Join(dir, "model_index.json")); err != nil {
		t.Fatal(err)
	}
	if checksum(t, dir) == before {
		t.Error("taking model_index.json away left the checksum as it was")
	}
}

// The checksum can be had without the service: sha256sum FILES | sha256sum.
func TestChecksumIsWhatSha256sumPrints(t *testing.T) {
	dir := bundle(t)
	list := ""
	for _, file := range []string{"model_index.json", "scheduler/scheduler_config.json", "unet/config.json", "unet/model.onnx"} {
		content, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		list += fmt.Sprintf("%x  %s\n", sha256.Sum256(content), file)
	}
	if got, want := checksum(t, dir), fmt.Sprintf("%x", sha256.Sum256([]byte(list))); got != want {
		t.Errorf("the checksum is %s, want %s", got, want)
	}
}

func checksum(t *testing.T, dir string) string {
	t.Helper()
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b.Checksum
}
