package diffusion_test

import (
	"context"
	"fmt"

	"denoised/inference/diffusion"
)

// The forward process adds noise step by step, x_t = x_0 + Σσᵢεᵢ. Whoever knows the noise walks back and finds the data
// again; a diffusion model learns to guess it.
func Example() {
	x := []float64{1, 2, 3, 4, 5}
	const sigma = 0.1
	var noise [3][5]float32
	generator := diffusion.NewGenerator(1)
	for i := range noise {
		generator.Normal(noise[i][:])
		for j := range x {
			x[j] += sigma * float64(noise[i][j])
		}
		fmt.Printf("noisy %.2f\n", x)
	}
	for i := range noise {
		for j := range x {
			x[j] -= sigma * float64(noise[len(noise)-1-i][j])
		}
	}
	fmt.Printf("clean %.2f\n", x)
	// Output:
	// noisy [1.07 2.03 3.01 4.06 4.95]
	// noisy [1.05 1.87 3.04 3.96 4.90]
	// noisy [0.96 1.87 3.02 3.86 4.94]
	// clean [1.00 2.00 3.00 4.00 5.00]
}

// Numbers are drawn from N(3, 0.5²) by removing the noise from noise. The ideal denoiser of that data takes the
// network's place.
func Example_gaussian() {
	schedule, err := diffusion.NewSchedule(1000, diffusion.Betas{Name: "linear", Start: 1e-4, End: 0.02})
	if err != nil {
		panic(err)
	}
	_, method, _ := diffusion.MethodOf("dpmpp_2m")
	levels, err := method.Levels(schedule, diffusion.Grid{Schedule: "native", Spacing: "trailing"}, 100)
	if err != nil {
		panic(err)
	}
	x := make([]float32, 10_000)
	generator := diffusion.NewGenerator(1)
	generator.Normal(x)
	denoiser := diffusion.Gaussian{Mean: 3, Std: 0.5}.Denoiser()
	if err := method.Sample(context.Background(), denoiser, x, diffusion.Run{Levels: levels}); err != nil {
		panic(err)
	}
	mean, std := moments(x)
	fmt.Printf("%d numbers with mean %.1f and standard deviation %.1f\n", len(x), mean, std)
	// Output: 10000 numbers with mean 3.0 and standard deviation 0.5
}
