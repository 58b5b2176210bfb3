package main

import (
	"context"
	"fmt"
	"os"

	"denoised/inference"
)

type denoiseCommand struct {
	folder
	In      string   `arg:"" help:"Image to denoise: PNG, JPEG or WebP."`
	Model   *string  `placeholder:"NAME" help:"Model to denoise with; the first in the folder that can when absent."`
	Sigma   *float64 `placeholder:"X" help:"Standard deviation of the noise in 8-bit units, 0 to 255; estimated when absent."`
	Steps   *int     `placeholder:"N" help:"1, the default, is closest to the clean image; more give a sharper sample."`
	Sampler *string  `placeholder:"NAME" help:"Sampler."`
	Seed    *uint32  `placeholder:"N" help:"Seed, for the samplers that draw noise."`
	Out     string   `short:"o" required:"" placeholder:"FILE" help:"PNG to write; - is standard output."`
}

// Run denoises without a server and says which noise it removed.
func (c denoiseCommand) Run(ctx context.Context, s streams) error {
	file, err := os.ReadFile(c.In)
	if err != nil {
		return err
	}
	picture, err := inference.ReadPicture(file, localLimits.Pixels)
	if err != nil {
		return fmt.Errorf("%s: %w", c.In, err)
	}
	all, err := c.loadFor(c.Model)
	if err != nil {
		return err
	}
	defer all.close()
	req := inference.DenoiseRequest{Model: c.Model, Sigma: c.Sigma, Steps: c.Steps, Sampler: c.Sampler, Seed: c.Seed}
	changed, err := inference.NewPipeline(version, localLimits, all.models...).Denoise(ctx, req, picture)
	if err != nil {
		return fmt.Errorf("%s: %w", c.In, err)
	}
	cleaned, err := changed.Picture.PNG()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.err, "%s: removed noise of sigma %.3g\n", c.In, changed.Sigma)
	return s.write(c.Out, cleaned)
}
