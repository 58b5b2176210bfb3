package weights

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// bundle makes a bundle called shapes: a copy of testdata/good with the files of the overlays, folders of testdata, laid
// over it. An overlay's file REMOVE lists the files that it takes away.
func bundle(t *testing.T, overlays ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shapes")
	for _, overlay := range append([]string{"good"}, overlays...) {
		if err := lay(dir, filepath.Join("testdata", overlay)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func lay(dir, overlay string) error {
	return filepath.WalkDir(overlay, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if entry.Name() == "REMOVE" {
			for file := range strings.FieldsSeq(string(content)) {
				if err := os.Remove(filepath.Join(dir, file)); err != nil {
					return err
				}
			}
			return nil
		}
		inside, err := filepath.Rel(overlay, path)
		if err != nil {
			return err
		}
		return write(filepath.Join(dir, inside), content)
	})
}

func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

func TestOpenRefusesNamesThatCannotBeServed(t *testing.T) {
	for _, name := range []string{"two words", "größe", strings.Repeat("n", 65)} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		want := name + ": the folder's name is the model's, which has 1 to 64 letters, digits, dots, underscores and dashes"
		if _, err := Open(dir); err == nil || err.Error() != want {
			t.Errorf("error %v", err)
		}
	}
}
