package main

import (
	"context"
	"fmt"
	"os"

	"denoised/inference"
)

type generateCommand struct {
	folder
	Model           *string   `placeholder:"NAME" help:"Model to draw with; the first in the folder when absent."`
	Label           []string  `placeholder:"CLASS" help:"What to draw. Several, separated by commas, are dealt over the images in turn."`
	Count           *int      `placeholder:"N" help:"Images to draw; several come on one sheet."`
	Seed            *uint32   `placeholder:"N" help:"Seed of the first image, the next has the one above it; random when absent."`
	Steps           *int      `placeholder:"N" help:"Steps of the sampler."`
	Sampler         *string   `placeholder:"NAME" help:"Sampler."`
	Eta             *float64  `placeholder:"X" help:"Share of fresh noise in a step, 0 to 1, for the samplers that have it."`
	Schedule        *string   `placeholder:"NAME" help:"σ schedule: native, karras, exponential, beta or sgm_uniform."`
	Spacing         *string   `placeholder:"NAME" help:"Spacing of the timesteps: leading, trailing or linspace."`
	StepsOffset     *int      `placeholder:"N" help:"Added to every timestep of leading spacing."`
	Timesteps       []float64 `placeholder:"T,…" help:"The timesteps themselves, from the noisiest down, in place of a schedule and a spacing."`
	Size            []int     `placeholder:"HEIGHT,WIDTH" help:"Size, where the model serves several."`
	Scale           *int      `placeholder:"N" help:"Enlarge the picture N times."`
	GuidanceScale   *float64  `placeholder:"X" help:"How hard to follow the label; 1 is off."`
	GuidanceRescale *float64  `placeholder:"X" help:"How much of guidance's contrast to give back, 0 to 1."`
	Out             string    `short:"o" required:"" placeholder:"FILE" help:"PNG to write; - is standard output."`
}

// localLimits bounds the local commands as the contract does a request; their user's patience does the rest.
var localLimits = inference.Limits{Steps: 1000, Count: 64, Pixels: 1 << 28}

// Run draws without a server.
func (c generateCommand) Run(ctx context.Context, s streams) error {
	req := inference.Request{
		Model: c.Model, Labels: c.Label, Count: c.Count, Seed: c.Seed, Steps: c.Steps, Sampler: c.Sampler,
		Eta: c.Eta, Schedule: c.Schedule, Spacing: c.Spacing, StepsOffset: c.StepsOffset, Timesteps: c.Timesteps,
		Scale: c.Scale, GuidanceScale: c.GuidanceScale, GuidanceRescale: c.GuidanceRescale,
	}
	switch len(c.Size) {
	case 0:
	case 2:
		req.Size = &[2]int{c.Size[0], c.Size[1]}
	default:
		return fmt.Errorf("--size has %d numbers; allowed: HEIGHT,WIDTH", len(c.Size))
	}
	all, err := c.loadFor(c.Model)
	if err != nil {
		return err
	}
	defer all.close()
	result, err := inference.NewPipeline(version, localLimits, all.models...).Generate(ctx, req)
	if err != nil {
		return err
	}
	file, err := result.PNG()
	if err != nil {
		return err
	}
	return s.write(c.Out, file)
}

// write puts a file where the user wants it.
func (s streams) write(path string, file []byte) error {
	if path == "-" {
		_, err := s.out.Write(file)
		return err
	}
	return os.WriteFile(path, file, 0o644)
}
