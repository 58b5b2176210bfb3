package main

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestImportsPointDown enforces the arrows of the house: each package may import those named here and no other of ours.
func TestImportsPointDown(t *testing.T) {
	allowed := map[string][]string{
		"denoised/cmd/denoised":            {"api", "inference", "inference/onnx", "weights"},
		"denoised/api":                     {"inference", "inference/diffusion"},
		"denoised/inference":               {"inference/diffusion", "weights"},
		"denoised/inference/inferencetest": {"inference/diffusion", "weights"},
		"denoised/inference/diffusion":     {},
		"denoised/inference/onnx":          {},
		"denoised/weights":                 {},
	}
	foreign := map[string]*regexp.Regexp{ // libraries with a place of their own
		"api, cmd": regexp.MustCompile(`chi|zerolog|prometheus`),
	}
	list := exec.Command("go", "list", "-f", `{{.ImportPath}}: {{join .Imports " "}}`, "./...")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), ": ")
		may, known := allowed[pkg]
		if !known {
			t.Errorf("%s has no place in the house", pkg)
		}
		seen++
		for imported := range strings.FieldsSeq(imports) {
			ours, isOurs := strings.CutPrefix(imported, "denoised/")
			switch {
			case isOurs && !slices.Contains(may, ours):
				t.Errorf("%s imports %s", pkg, imported)
			case foreign["api, cmd"].MatchString(imported) && pkg != "denoised/api" && pkg != "denoised/cmd/denoised":
				t.Errorf("%s imports %s, which stays in api and cmd", pkg, imported)
			case (imported == "C" || strings.Contains(imported, "onnxruntime_go")) && pkg != "denoised/inference/onnx":
				t.Errorf("%s imports %s, which stays in inference/onnx", pkg, imported)
			}
		}
	}
	if seen != len(allowed) {
		t.Errorf("%d packages, and %d have a place", seen, len(allowed))
	}
}

// TestFilesStaySmall holds the sizes that the house keeps: no file over 600 lines, half of the Go files at most 120, and
// no init function.
func TestFilesStaySmall(t *testing.T) {
	var sizes []int
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (name == "runs" || name == "testdata" || strings.HasPrefix(name, ".") && len(name) > 2) {
			return fs.SkipDir
		}
		if extension := filepath.Ext(path); extension != ".go" && extension != ".py" {
			return nil
		}
		file, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		lines := bytes.Count(file, []byte("\n"))
		if lines > 600 {
			t.Errorf("%s has %d lines", path, lines)
		}
		if bytes.Contains(file, []byte("\nfunc init(")) {
			t.Errorf("%s has an init function", path)
		}
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			sizes = append(sizes, lines)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(sizes)
	if median := sizes[len(sizes)/2]; median > 120 {
		t.Errorf("the median file has %d lines", median)
	}
}
