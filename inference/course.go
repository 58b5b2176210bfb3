package inference

import (
	"slices"
	"strings"

	"denoised/inference/diffusion"
)

// uniform is the name under which Stability AI's code has the native schedule with trailing timesteps.
const uniform = "sgm_uniform"

// A course is how a request goes from noise to data: the method, and the levels on its way.
type course struct {
	method  diffusion.Method
	spacing string
	levels  []diffusion.Level
}

// checkCourse resolves the sampler and the levels that a run of it visits, or says why there are none.
func (p *Pipeline) checkCourse(f *faults, m *Model, req Request, r *Recipe) course {
	before := len(*f)
	r.Sampler = value(req.Sampler, m.Bundle.Defaults.Sampler)
	method := checkMethod(f, &r.Sampler)
	if len(*f) > before {
		return course{}
	}
	grid := m.grid(method)
	c := course{method: method, spacing: grid.Spacing}
	if req.Timesteps != nil {
		// A schedule and a spacing beside them have no say, but must be known.
		checkName(f, "schedule", req.Schedule, "", everySchedule())
		checkName(f, "spacing", req.Spacing, "", diffusion.Spacings)
		between(f, "steps_offset", value(req.StepsOffset, 0), 0, m.schedule.Len()-1)
		grid.Timesteps, r.Timesteps = req.Timesteps, req.Timesteps
		r.Steps = len(req.Timesteps)
		if r.Steps < 1 || r.Steps > p.Limits.Steps {
			f.add("timesteps", "are %d; allowed: 1 to %d of them", r.Steps, p.Limits.Steps)
		}
		if req.Steps != nil && *req.Steps != r.Steps {
			f.add("steps", "is %d beside %d timesteps; allowed there: %d, or nothing", *req.Steps, r.Steps, r.Steps)
		}
	} else {
		checkGrid(f, m, req, method, &grid)
		if req.Steps != nil {
			r.Steps = *req.Steps
		} else if r.Steps = m.Bundle.Defaults.Steps; len(*f) == before {
			r.Steps = method.Fit(m.schedule, grid, r.Steps) // another sampler may have room for fewer
		}
		between(f, "steps", r.Steps, 1, p.Limits.Steps)
		r.Schedule, r.Spacing, c.spacing = grid.Schedule, grid.Spacing, grid.Spacing
		if grid.Spacing == "leading" {
			r.StepsOffset = &grid.Offset
		}
		if method.Distilled() {
			r.Spacing, r.StepsOffset = "", nil
		}
	}
	if len(*f) > before {
		return c
	}
	levels, err := method.Levels(m.schedule, grid, r.Steps)
	switch {
	case err != nil && grid.Timesteps != nil:
		f.add("timesteps", "%v", err)
	case err != nil:
		f.add("steps", "%v", err)
	}
	c.levels = levels
	return c
}

// checkMethod finds a sampler by its name, and gives it the one that it is listed by.
func checkMethod(f *faults, name *string) diffusion.Method {
	listed, method, ok := diffusion.MethodOf(*name)
	if !ok {
		f.add("sampler", "%.80q is unknown; allowed: %s", *name, strings.Join(diffusion.Methods(), ", "))
		return method
	}
	*name = listed
	return method
}

// grid is the bundle's own choice of levels for a method.
func (m *Model) grid(method diffusion.Method) diffusion.Grid {
	s := m.Bundle.Scheduler
	grid := diffusion.Grid{
		Schedule: s.SigmaSchedule, Spacing: s.TimestepSpacing, Offset: s.StepsOffset, OriginalSteps: s.OriginalSteps,
		AlphaToOne: value(s.SetAlphaToOne, method.AlphaToOne), SigmaMin: s.FinalSigmasType == "sigma_min",
	}
	if !method.Rescheduled {
		grid.Schedule = "native"
	}
	return grid
}

// SchedulesOf lists the σ schedules that a request can have with a method.
func SchedulesOf(method diffusion.Method) []string {
	switch {
	case method.Distilled():
		return []string{"native"}
	case method.FixedGrid:
		return []string{"native", uniform}
	}
	return everySchedule()
}

func everySchedule() []string { return append(slices.Clone(diffusion.Schedules), uniform) }

// checkGrid lets a request choose the σ schedule and the spacing.
func checkGrid(f *faults, m *Model, req Request, method diffusion.Method, grid *diffusion.Grid) {
	grid.Schedule = checkName(f, "schedule", req.Schedule, grid.Schedule, SchedulesOf(method))
	if method.Distilled() {
		const own = "is not to be chosen: the sampler visits timesteps of the model's distillation"
		if req.Spacing != nil {
			f.add("spacing", own)
		}
		if req.StepsOffset != nil {
			f.add("steps_offset", own)
		}
		return
	}
	if grid.Schedule == uniform {
		grid.Schedule, grid.Spacing = "native", "trailing"
		if req.Spacing != nil && *req.Spacing != "trailing" {
			f.add("spacing", "is %.80q beside the schedule %s; allowed there: trailing", *req.Spacing, uniform)
			return
		}
	}
	grid.Spacing = checkName(f, "spacing", req.Spacing, grid.Spacing, diffusion.Spacings)
	if req.StepsOffset != nil {
		grid.Offset = *req.StepsOffset
		between(f, "steps_offset", grid.Offset, 0, m.schedule.Len()-1)
		if grid.Spacing != "leading" {
			f.add("steps_offset", "goes with leading spacing, and this is %s", grid.Spacing)
		}
	}
}

// checkName is the name sent, or the default where none was.
func checkName(f *faults, field string, sent *string, absent string, allowed []string) string {
	name := value(sent, absent)
	if sent != nil && !slices.Contains(allowed, name) {
		f.add(field, "%.80q is not to be had here; allowed: %s", name, strings.Join(allowed, ", "))
	}
	return name
}
