package weights

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// good is what Open finds in testdata/good, less the name, the folder and the checksum.
func good() Bundle {
	return Bundle{
		Class:    "DDPMPipeline",
		Channels: 1, Height: 8, Width: 8,
		Labels:     []string{"circle", "square", "cross"},
		NullLabel:  3,
		ValueRange: [2]float64{0, 1},
		Defaults:   Defaults{Sampler: "ddim", Steps: 20, GuidanceScale: 2.5},
		Scheduler: Scheduler{
			Class: "DDPMScheduler", TrainTimesteps: 1000, BetaSchedule: "linear", BetaStart: 1e-4, BetaEnd: 0.02,
			PredictionType: "epsilon", ClipSample: true, ClipSampleRange: 1, UseClippedModelOutput: true,
			TimestepSpacing: "trailing", SetAlphaToOne: true,
		},
		Graph: Graph{
			Sample:   Input{"sample", "float32", []int64{-1, 1, -1, -1}},
			Timestep: Input{"timestep", "float32", []int64{-1}},
			Label:    &Input{"class_labels", "int64", []int64{-1}},
			Output:   Input{"out_sample", "float32", []int64{-1, 1, -1, -1}},
		},
	}
}

// plain makes of it a bundle that only has the two configs and the graph, and no label.
func plain(b *Bundle) {
	b.Class, b.Labels, b.NullLabel, b.Graph.Label = "", nil, -1, nil
	b.ValueRange = [2]float64{-1, 1}
	b.Scheduler.UseClippedModelOutput = false
}

func TestOpenReadsWhatTheFilesSay(t *testing.T) {
	for _, test := range []struct {
		name, overlay string
		differs       func(*Bundle)
	}{
		{"class-conditional with a null label", "good", func(*Bundle) {}},
		{"unconditional; absent keys mean what DDIMScheduler makes of them", "variants/unconditional", func(b *Bundle) {
			plain(b)
			b.Class = "DDIMPipeline"
			b.Defaults = Defaults{"ddim", 50, 1}
			b.Scheduler.Class, b.Scheduler.TimestepSpacing = "DDIMScheduler", "leading"
		}},
		{"no model_index.json: every class is a label, named by its index", "variants/no-index", func(b *Bundle) {
			label := b.Graph.Label
			plain(b)
			b.Labels, b.Graph.Label = []string{"0", "1", "2", "3"}, label
			b.Defaults = Defaults{"ddpm", 1000, 1}
		}},
		{"a null label but no id2label: the other classes are named by their indices", "variants/no-names", func(b *Bundle) {
			b.Labels = []string{"0", "1", "2"}
		}},
		{"weights in another file", "variants/external-data", func(*Bundle) {}},
		{"inputs x, t, y of another exporter", "variants/other-names", func(b *Bundle) {
			b.Scheduler.TimestepSpacing = "leading"
			b.Graph.Sample.Name, b.Graph.Output.Name = "x", "eps"
			b.Graph.Timestep = Input{"t", "int64", []int64{-1}}
			b.Graph.Label.Name = "y"
		}},
		{"the label is the only integer", "variants/only-integer", func(b *Bundle) { b.Graph.Label.Name = "condition" }},
		{"a scalar int64 timestep; Euler never clips", "variants/scalar-timestep", func(b *Bundle) {
			plain(b)
			b.Class = "DDPMPipeline"
			b.Defaults = Defaults{"euler", 50, 1}
			b.Scheduler.Class, b.Scheduler.TimestepSpacing = "EulerDiscreteScheduler", "linspace"
			b.Scheduler.ClipSample = false
			b.Graph.Timestep = Input{"t", "int64", []int64{}}
		}},
		{"an old export that lists its weights among the inputs", "variants/weights-as-inputs", func(*Bundle) {}},
		{"a fixed batch and size", "variants/fixed", func(b *Bundle) {
			b.Graph.Sample.Shape, b.Graph.Output.Shape = []int64{2, 1, 8, 8}, []int64{2, 1, 8, 8}
			b.Graph.Timestep.Shape, b.Graph.Label.Shape = []int64{2}, []int64{2}
		}},
		{"oblong colour pictures on a schedule of 40 timesteps", "variants/oblong", func(b *Bundle) {
			plain(b)
			b.Channels, b.Width = 3, 16
			b.Defaults = Defaults{"ddim", 40, 1}
			b.Scheduler = Scheduler{
				Class: "DDIMScheduler", TrainTimesteps: 40, BetaSchedule: "squaredcos_cap_v2", BetaStart: 1e-4, BetaEnd: 0.02,
				PredictionType: "epsilon", ClipSampleRange: 2, TimestepSpacing: "linspace", StepsOffset: 1,
			}
			b.Graph.Sample.Shape, b.Graph.Output.Shape = []int64{-1, 3, 8, 16}, []int64{-1, 3, 8, 16}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := bundle(t, test.overlay)
			got, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			want := good()
			test.differs(&want)
			want.Name, want.Dir, want.Checksum = "shapes", dir, got.Checksum
			want.Graph.Path = filepath.Join(dir, "unet", "model.onnx")
			if !reflect.DeepEqual(*got, want) {
				t.Errorf("found %+v\nwant  %+v", *got, want)
			}
		})
	}
}

func TestOpenNamesTheFolderItIsIn(t *testing.T) {
	t.Chdir(bundle(t))
	b, err := Open(".")
	if err != nil {
		t.Fatal(err)
	}
	if b.Name != "shapes" {
		t.Errorf("the name is %q, want shapes", b.Name)
	}
}

func TestOpenRefusesWhatIsNoFolder(t *testing.T) {
	dir := bundle(t)
	if _, err := Open(filepath.Join(dir, "no")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing folder: %v, want fs.ErrNotExist", err)
	}
	file := filepath.Join(dir, "README.md")
	if _, err := Open(file); err == nil || err.Error() != file+": is not a folder" {
		t.Errorf("a file: %v", err)
	}
}

func TestOpenRefusesWhatIsTooLargeToKeepAsAFile(t *testing.T) {
	for file, test := range map[string]struct {
		content []byte
		want    string
	}{
		"unet/config.json": {[]byte(strings.Repeat(" ", maxJSON) + "{}"), "has 1048578 bytes; a config has at most 1048576"},
		"unet/model.onnx":  {nested(100), "is damaged: byte 300 is more than 100 messages deep"},
	} {
		dir := bundle(t)
		if err := write(filepath.Join(dir, file), test.content); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); err == nil || err.Error() != "shapes/"+file+": "+test.want {
			t.Errorf("said %v\nwant shapes/%s: %s", err, file, test.want)
		}
	}
}

// A config that is a link to nowhere, as a pruned download cache leaves it, is not the same as no config.
func TestOpenRefusesALinkToNowhere(t *testing.T) {
	dir := bundle(t, "variants/no-index")
	if err := os.Symlink("nowhere", filepath.Join(dir, "model_index.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("said %v, want fs.ErrNotExist", err)
	}
}

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
