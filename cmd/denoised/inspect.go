package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"denoised/inference"
	"denoised/weights"
)

type inspectCommand struct {
	loading
	Bundle string `arg:"" help:"Folder of the bundle."`
}

// Run prints what the bundle's files say and what its network was found to do.
func (c inspectCommand) Run(s streams) error {
	all, err := c.load([]string{c.Bundle}, inference.Unobserved{})
	if err != nil {
		return err
	}
	defer all.close()
	m := all.models[0]
	b := m.Bundle
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"name", b.Name},
		{"checksum", b.Checksum},
		{"tasks", strings.Join(m.Tasks(), ", ")},
		{"size", fmt.Sprintf("%d×%d, %d channels", b.Height, b.Width, b.Channels)},
		{"other sizes", otherSizes(m)},
		{"labels", strings.Join(b.Labels, ", ")},
		{"defaults", fmt.Sprintf("%s, %d steps, guidance %g", b.Defaults.Sampler, b.Defaults.Steps, b.Defaults.GuidanceScale)},
		{"schedule", fmt.Sprintf("%s, %d timesteps, %s spacing, %s σ", b.Scheduler.Betas(), b.Scheduler.TrainTimesteps,
			b.Scheduler.TimestepSpacing, b.Scheduler.SigmaSchedule)},
		{"prediction", b.Scheduler.PredictionType},
		{"variance", b.Scheduler.VarianceType},
		{"inputs", inputs(b.Graph)},
		{"output", b.Graph.Output.String()},
		{"rows a run", fmt.Sprintf("up to %d", m.MaxRows)},
		{"reproducible", reproducible(m)},
		{"runs on", fmt.Sprintf("%s, %s, %d threads", m.Device, m.Runtime, m.Threads)},
	} {
		if line[1] != "" {
			fmt.Fprintf(table, "%s\t%s\n", line[0], line[1])
		}
	}
	return table.Flush()
}

func otherSizes(m *inference.Model) string {
	if m.SizeStep == 0 {
		return "none"
	}
	return fmt.Sprintf("any that differ by multiples of %d", m.SizeStep)
}

func reproducible(m *inference.Model) string {
	if m.Bitwise {
		return "bitwise: a row keeps its bits in any batch"
	}
	return "within a tolerance: a row's bits depend on its batch"
}

func inputs(g weights.Graph) string {
	list := []string{g.Sample.String(), g.Timestep.String()}
	if g.Label != nil {
		list = append(list, g.Label.String())
	}
	return strings.Join(list, ", ")
}
