package weights

import (
	"errors"
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
			Class: "DDPMScheduler", Sampler: "ddpm", TrainTimesteps: 1000,
			BetaSchedule: "linear", BetaStart: 1e-4, BetaEnd: 0.02, PredictionType: "epsilon",
			ClipSample: yes, ClipSampleRange: 1, DynamicThresholdingRatio: 0.995, SampleMaxValue: 1,
			VarianceType: "fixed_small", UseClippedModelOutput: true, SigmaSchedule: "native",
			TimestepSpacing: "trailing", FinalSigmasType: "zero", OriginalSteps: 50,
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
			b.Defaults = Defaults{"ddim", true, 50, 1, 0}
			b.Scheduler.Class, b.Scheduler.Sampler, b.Scheduler.TimestepSpacing = "DDIMScheduler", "ddim", "leading"
			b.Scheduler.SetAlphaToOne = yes
		}},
		{"no model_index.json: every class is a label, named by its index", "variants/no-index", func(b *Bundle) {
			label := b.Graph.Label
			plain(b)
			b.Labels, b.Graph.Label = []string{"0", "1", "2", "3"}, label
			b.Defaults = Defaults{"ddpm", true, 1000, 1, 0}
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
		{"a scalar int64 timestep; clip_sample is heeded though Euler lacks it", "variants/scalar-timestep", func(b *Bundle) {
			plain(b)
			b.Class = "DDPMPipeline"
			b.Defaults = Defaults{"euler", true, 50, 1, 0}
			b.Scheduler.Class, b.Scheduler.Sampler, b.Scheduler.TimestepSpacing = "EulerDiscreteScheduler", "euler", "linspace"
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
			b.Defaults = Defaults{"ddim", true, 40, 1, 0}
			s := &b.Scheduler
			s.Class, s.Sampler, s.TrainTimesteps, s.BetaSchedule = "DDIMScheduler", "ddim", 40, "squaredcos_cap_v2"
			s.ClipSample, s.ClipSampleRange, s.SetAlphaToOne = no, 2, no
			s.TimestepSpacing, s.StepsOffset, s.OriginalSteps = "linspace", 1, 40
			b.Graph.Sample.Shape, b.Graph.Output.Shape = []int64{-1, 3, 8, 16}, []int64{-1, 3, 8, 16}
		}},
		{"a learned variance", "variants/learned-variance", func(b *Bundle) {
			b.LearnedVariance, b.Scheduler.VarianceType = true, "learned_range"
			b.Graph.Output.Shape = []int64{-1, 2, -1, -1}
		}},
		{"v-prediction on a schedule that ends in nothing but noise", "variants/zero-snr", func(b *Bundle) {
			s := &b.Scheduler
			s.Class, s.Sampler, s.BetaSchedule, s.BetaStart, s.BetaEnd = "DDIMScheduler", "ddim", "scaled_linear", 0.00085, 0.012
			s.PredictionType, s.RescaleBetasZeroSNR, s.ClipSample = "v_prediction", true, no
			s.SetAlphaToOne = yes
			b.Defaults.GuidanceRescale = 0.7
		}},
		{"βs of its own, which say how many timesteps there are", "variants/trained-betas", func(b *Bundle) {
			s := &b.Scheduler
			s.Class, s.Sampler, s.TrainTimesteps, s.OriginalSteps = "DDIMScheduler", "ddim", 20, 20
			s.TrainedBetas = []float64{
				0.0001, 0.00012, 0.00014, 0.00016, 0.00018, 0.0002, 0.00022, 0.000239, 0.000259, 0.000279,
				0.000299, 0.000319, 0.000339, 0.000359, 0.000379, 0.000399, 0.000419, 0.000439, 0.000459, 0.000478,
			}
			s.TimestepSpacing, s.SetAlphaToOne = "leading", yes
		}},
		{"what DPMSolverMultistepScheduler saves, -Infinity included", "variants/infinity", func(b *Bundle) {
			s := &b.Scheduler
			s.Class, s.Sampler = "DPMSolverMultistepScheduler", "dpmpp_2m_sde"
			s.ClipSample, s.TimestepSpacing, s.SigmaSchedule = nil, "linspace", "karras"
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
