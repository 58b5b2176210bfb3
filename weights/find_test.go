package weights

import (
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"testing"
)

func TestFindListsBundlesEvenBrokenOnes(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{
		"zoo/model_index.json", "digits/unet/config.json", "half/unet/model.onnx", "old/scheduler/scheduler_config.json",
		"training/README.md", "training/runs/model_index.json", "testdata/good/unet/config.json", "weights.go",
	} {
		if err := write(filepath.Join(dir, file), nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := Find(dir)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range []string{"digits", "half", "old", "zoo"} {
		want = append(want, filepath.Join(dir, name))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

func TestFindRefusesWhatIsNoFolder(t *testing.T) {
	if _, err := Find(filepath.Join(t.TempDir(), "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("said %v, want fs.ErrNotExist", err)
	}
}
