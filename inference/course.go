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
		checkName(f, "schedule", req.Schedule, "", append(slices.Clone(diffusion.Schedules), uniform))
		checkName(f, "spacing", req.Spacing, "", diffusion.Spacings)
		grid.Timesteps, r.Timesteps = req.Timesteps, req.Timesteps
		r.Steps = len(req.Timesteps)
		between(f, "timesteps", r.Steps, 1, p.Limits.Steps)
		if req.Steps != nil && *req.Steps != r.Steps {
			f.add("steps", "is %d beside %d timesteps; allowed there: %d, or nothing", *req.Steps, r.Steps, r.Steps)
		}
	} else {
		r.Steps = value(req.Steps, m.Bundle.Defaults.Steps)
		between(f, "steps", r.Steps, 1, p.Limits.Steps)
		checkGrid(f, m, req, method, &grid)
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
	if method.FixedGrid {
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
	return append(slices.Clone(diffusion.Schedules), uniform)
}

// checkGrid lets a request choose the σ schedule and the spacing.
func checkGrid(f *faults, m *Model, req Request, method diffusion.Method, grid *diffusion.Grid) {
	grid.Schedule = checkName(f, "schedule", req.Schedule, grid.Schedule, SchedulesOf(method))
	if method.Distilled() {
		if req.Spacing != nil || req.StepsOffset != nil {
			f.add("spacing", "is not to be chosen: the sampler visits timesteps of the model's distillation")
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
