package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"denoised/inference"
)

type denoiseCommand struct {
	folder
	In      []string `arg:"" help:"Images to denoise: PNG, JPEG or WebP."`
	Model   *string  `placeholder:"NAME" help:"Model to denoise with; the first in the folder that can when absent, one for colour before one for grey."`
	Sigma   *float64 `placeholder:"X" help:"Standard deviation of the noise in 8-bit units, 0 to 255; estimated when absent."`
	Steps   *int     `placeholder:"N" help:"1, the default, is closest to the clean image; more give a sharper sample."`
	Sampler *string  `placeholder:"NAME" help:"Sampler."`
	Seed    *uint32  `placeholder:"N" help:"Seed, for the samplers that draw noise."`
	Out     string   `short:"o" xor:"out" required:"" placeholder:"FILE" help:"PNG to write, for a single image; - is standard output."`
	OutDir  string   `xor:"out" required:"" placeholder:"DIR" help:"Folder for the PNGs of several images, made if need be."`
}

// Run denoises without a server and says which noise it removed. One image that cannot be read does not stop the others.
func (c denoiseCommand) Run(ctx context.Context, s streams) error {
	targets, err := c.targets()
	if err != nil {
		return err
	}
	all, err := c.loadFor(c.Model)
	if err != nil {
		return err
	}
	defer all.close()
	pipeline := inference.NewPipeline(version, localLimits, all.models...)
	bar := s.bar(len(c.In))
	var failed []error
	for i, in := range c.In {
		sigma, err := c.clean(ctx, s, pipeline, in, targets[i])
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		_ = bar.Clear()
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", in, err))
		} else {
			fmt.Fprintf(s.err, "%s: removed noise of sigma %.3g\n", in, sigma)
		}
		_ = bar.Add(1)
	}
	_ = bar.Clear()
	return errors.Join(failed...)
}

// targets are the files to write. Two images never become one, and none is written over an image that is read.
func (c denoiseCommand) targets() ([]string, error) {
	if c.OutDir == "" {
		if len(c.In) > 1 {
			return nil, fmt.Errorf("--out takes one image, and %d are given; give --out-dir", len(c.In))
		}
		return []string{c.Out}, nil
	}
	if err := os.MkdirAll(c.OutDir, 0o777); err != nil {
		return nil, err
	}
	folder, err := filepath.Abs(c.OutDir)
	if err != nil {
		return nil, err
	}
	var targets []string
	from := map[string]string{} // by the target's name
	for _, in := range c.In {
		base := filepath.Base(in)
		name := strings.TrimSuffix(base, filepath.Ext(base)) + ".png"
		if other, taken := from[name]; taken {
			return nil, fmt.Errorf("%s and %s would both become %s", other, in, filepath.Join(c.OutDir, name))
		}
		from[name] = in
		targets = append(targets, filepath.Join(c.OutDir, name))
	}
	for _, in := range c.In {
		place, err := filepath.Abs(in)
		if err != nil {
			return nil, err
		}
		if other, taken := from[filepath.Base(place)]; taken && filepath.Dir(place) == folder {
			return nil, fmt.Errorf("what %s becomes would be written over %s; give another --out-dir", other, in)
		}
	}
	return targets, nil
}

// clean denoises one image and gives the noise's σ.
func (c denoiseCommand) clean(ctx context.Context, s streams, pipeline *inference.Pipeline, in, out string) (float64, error) {
	file, err := os.ReadFile(in)
	if err != nil {
		return 0, err
	}
	picture, err := inference.ReadPicture(file, localLimits.Pixels)
	if err != nil {
		return 0, err
	}
	req := inference.DenoiseRequest{Model: c.Model, Sigma: c.Sigma, Steps: c.Steps, Sampler: c.Sampler, Seed: c.Seed}
	changed, err := pipeline.Denoise(ctx, req, picture)
	if err != nil {
		return 0, err
	}
	cleaned, err := changed.Picture.PNG()
	if err != nil {
		return 0, err
	}
	return changed.Sigma, s.write(out, cleaned)
}

// bar shows how far several images are, where somebody is looking.
func (s streams) bar(count int) *progressbar.ProgressBar {
	file, ok := s.err.(*os.File)
	visible := ok && count > 1 && term.IsTerminal(int(file.Fd()))
	return progressbar.NewOptions(count, progressbar.OptionSetWriter(s.err), progressbar.OptionSetVisibility(visible),
		progressbar.OptionShowCount(), progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish())
}
