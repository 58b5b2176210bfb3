package weights

import (
	"os"
	"path/filepath"
	"testing"
)

// bad tells for each folder below testdata/bad, which lays one mistake over the good bundle, what Open says of it.
var bad = map[string]string{
	"graph-channels":         `shapes/unet/model.onnx: declares sample float32[?,3,?,?], but unet/config.json makes it sample float32[?,1,8,8]`,
	"graph-data-length":      `shapes/unet/model.onnx: tensor "class_labels_scale" needs 4 bytes, but its external data has the length 3`,
	"graph-data-missing":     `shapes/unet/model.onnx.data: no such file or directory`,
	"graph-data-offset":      `shapes/unet/model.onnx: tensor "class_labels_scale" has external data with the offset "-4"`,
	"graph-data-outside":     `shapes/unet/model.onnx: tensor "sample_scale" has its data in "../model.onnx.data", which is no plain path inside the folder`,
	"graph-data-short":       `shapes/unet/model.onnx.data: has 11 bytes; tensor "class_labels_scale" of unet/model.onnx ends at byte 12`,
	"graph-empty":            `shapes/unet/model.onnx: is empty`,
	"graph-four-inputs":      `shapes/unet/model.onnx: its inputs cannot be matched: the sample goes with a timestep and at most a label, each of rank 0 or 1; found: sample float32[?,1,?,?], timestep float32[?], class_labels int64[?], aesthetic_score float32[?]`,
	"graph-html":             `shapes/unet/model.onnx: is no ONNX network or is damaged: byte 0 begins no field`,
	"graph-label-type":       `shapes/unet/model.onnx: the label must be int64, not class_labels int32[?]`,
	"graph-lfs-pointer":      `shapes/unet/model.onnx: is a Git LFS pointer, not the file itself; git lfs pull fetches that`,
	"graph-missing":          `shapes/unet/model.onnx: no such file or directory`,
	"graph-nameless-input":   `shapes/unet/model.onnx: is damaged: an input or output before byte 665 has no name`,
	"graph-no-graph":         `shapes/unet/model.onnx: is no ONNX network: it has no graph`,
	"graph-no-label":         `shapes/unet/model.onnx: has no label, but unet/config.json has num_class_embeds 4`,
	"graph-no-rows":          `shapes/unet/model.onnx: declares sample float32[0,1,?,?], but unet/config.json makes it sample float32[?,1,8,8]`,
	"graph-no-sample":        `shapes/unet/model.onnx: its inputs cannot be matched: just one must be of rank 4, the sample; found: sample float32[?,?,1], timestep float32[?], class_labels int64[?]`,
	"graph-no-shape":         `shapes/unet/model.onnx: its inputs cannot be matched: just one must be of rank 4, the sample; found: sample float32 of unknown shape, timestep float32[?], class_labels int64[?]`,
	"graph-no-timestep":      `shapes/unet/model.onnx: its inputs cannot be matched: the timestep and the label cannot be told apart; found: sample float32[?,1,?,?], class_labels int64[?]`,
	"graph-output-channels":  `shapes/unet/model.onnx: declares out_sample float32[?,2,?,?], but unet/config.json makes it out_sample float32[?,1,8,8]`,
	"graph-output-type":      `shapes/unet/model.onnx: its outputs cannot be matched: just one must be float32 of rank 4; found: out_sample float64[?,1,?,?]`,
	"graph-sample-type":      `shapes/unet/model.onnx: the sample must be float32, not sample float16[?,1,?,?]`,
	"graph-scalar-label":     `shapes/unet/model.onnx: the label must be one for each row, not the scalar class_labels int64[]`,
	"graph-size":             `shapes/unet/model.onnx: declares sample float32[?,1,16,16], but unet/config.json makes it sample float32[?,1,8,8]`,
	"graph-text":             `shapes/unet/model.onnx: is no ONNX network or is damaged: byte 0 begins no field`,
	"graph-text-condition":   `shapes/unet/model.onnx: its inputs cannot be matched: the sample goes with a timestep and at most a label, each of rank 0 or 1; found: sample float32[?,1,?,?], timestep float32[?], encoder_hidden_states float32[?,77,768]`,
	"graph-timestep-type":    `shapes/unet/model.onnx: the timestep must be float32 or int64, not timestep int32[?]`,
	"graph-truncated":        `shapes/unet/model.onnx: is cut short or damaged: byte 15 begins a field of 790 bytes, and 182 are left`,
	"graph-two-integers":     `shapes/unet/model.onnx: its inputs cannot be matched: the timestep and the label cannot be told apart; found: sample float32[?,1,?,?], a int64[?], b int64[?]`,
	"graph-two-labels":       `shapes/unet/model.onnx: its inputs cannot be matched: the timestep and the label cannot be told apart; found: sample float32[?,1,?,?], class_a int64[?], class_b int64[?]`,
	"graph-two-outputs":      `shapes/unet/model.onnx: its outputs cannot be matched: just one must be float32 of rank 4; found: out_sample float32[?,1,?,?], variance float32[?,1,?,?]`,
	"graph-two-samples":      `shapes/unet/model.onnx: its inputs cannot be matched: just one must be of rank 4, the sample; found: sample float32[?,1,?,?], timestep float32[?], class_labels int64[?], image float32[?,1,?,?]`,
	"graph-unexpected-label": `shapes/unet/model.onnx: has the label class_labels int64[?], but unet/config.json has no num_class_embeds`,

	"index-class":                 `shapes/model_index.json: _class_name must be a string, not ["pipeline","Mine"]`,
	"index-denoised-list":         `shapes/model_index.json: denoised must be an object, not []`,
	"index-empty-label":           `shapes/model_index.json: id2label has an empty name for class 1`,
	"index-empty-sampler":         `shapes/model_index.json: denoised.defaults.sampler is empty`,
	"index-fewer-labels":          `shapes/model_index.json: id2label names 2 classes; num_class_embeds 4 less the null_label asks for 3`,
	"index-fractional-steps":      `shapes/model_index.json: denoised.defaults.steps must be an integer, not 2.5`,
	"index-gap-in-labels":         `shapes/model_index.json: id2label has no name for class 2`,
	"index-guidance":              `shapes/model_index.json: denoised.defaults.guidance_scale 31 is outside 0…30`,
	"index-guidance-without-null": `shapes/model_index.json: denoised.defaults.guidance_scale 2.5 needs a null_label`,
	"index-invalid-json":          `shapes/model_index.json: line 1, column 17: invalid character 'D' looking for beginning of value`,
	"index-label-list":            `shapes/model_index.json: id2label must be an object of strings, not ["circle","square","cross"]`,
	"index-labels-of-none":        `shapes/model_index.json: id2label names 3 classes, but unet/config.json has no num_class_embeds`,
	"index-no-null-label":         `shapes/model_index.json: id2label names 3 classes; num_class_embeds 4 without a null_label asks for 4`,
	"index-null-in-value-range":   `shapes/model_index.json: denoised.value_range must be [low, high] with low < high, not [null,1]`,
	"index-null-label":            `shapes/model_index.json: denoised.null_label 0 is not served with num_class_embeds 4; served: 3, the last`,
	"index-null-label-of-none":    `shapes/model_index.json: denoised.null_label 3 is given, but unet/config.json has no num_class_embeds`,
	"index-same-label":            `shapes/model_index.json: id2label names both class 0 and class 2 "circle"`,
	"index-steps":                 `shapes/model_index.json: denoised.defaults.steps 0 is outside 1…1000`,
	"index-steps-beyond-schedule": `shapes/model_index.json: denoised.defaults.steps 20 is outside 1…10`,
	"index-text-clipped":          `shapes/model_index.json: denoised.use_clipped_model_output must be true or false, not 1`,
	"index-text-null-label":       `shapes/model_index.json: denoised.null_label must be an integer, not "3"`,
	"index-text-value-range":      `shapes/model_index.json: denoised.value_range must be [low, high] with low < high, not "0…1"`,
	"index-unknown-default":       `shapes/model_index.json: denoised.defaults.guidance is unknown; known: guidance_scale, sampler, steps`,
	"index-unknown-key":           `shapes/model_index.json: denoised.guidance is unknown; known: defaults, null_label, use_clipped_model_output, value_range`,
	"index-value-range":           `shapes/model_index.json: denoised.value_range must be [low, high] with low < high, not [1,-1]`,
	"index-value-range-of-one":    `shapes/model_index.json: denoised.value_range must be [low, high] with low < high, not [1]`,

	"network-channels":            `shapes/unet/config.json: in_channels 2 is not served; served: 1, 3, 4`,
	"network-class-embedding":     `shapes/unet/config.json: class_embed_type "timestep" is not served; served: null`,
	"network-cut-short":           `shapes/unet/config.json: line 2, column 19: unexpected end of JSON input`,
	"network-empty":               `shapes/unet/config.json: is empty`,
	"network-fractional-channels": `shapes/unet/config.json: in_channels must be an integer, not 1.5`,
	"network-invalid-json":        `shapes/unet/config.json: line 3, column 20: invalid character ';' after object key:value pair`,
	"network-learned-variance":    `shapes/unet/config.json: out_channels 2 differs from in_channels 1; a learned variance is not served`,
	"network-missing":             `shapes/unet/config.json: no such file or directory`,
	"network-no-channels":         `shapes/unet/config.json: in_channels is missing`,
	"network-no-classes":          `shapes/unet/config.json: num_class_embeds 0 is outside 1…100000`,
	"network-no-object":           `shapes/unet/config.json: is not a JSON object`,
	"network-no-output-channels":  `shapes/unet/config.json: out_channels is missing`,
	"network-no-size":             `shapes/unet/config.json: sample_size is missing`,
	"network-null":                `shapes/unet/config.json: is not a JSON object`,
	"network-null-size":           `shapes/unet/config.json: sample_size must be an integer or [height, width], not null`,
	"network-size-of-three":       `shapes/unet/config.json: sample_size must be an integer or [height, width], not [1,8,8]`,
	"network-size-too-large":      `shapes/unet/config.json: sample_size 8192 is outside 1…4096`,
	"network-size-zero":           `shapes/unet/config.json: sample_size 0 is outside 1…4096`,
	"network-text-channels":       `shapes/unet/config.json: in_channels must be an integer, not "1"`,
	"network-text-classes":        `shapes/unet/config.json: num_class_embeds must be an integer, not "ten"`,
	"network-trailing-data":       `shapes/unet/config.json: line 10, column 1: invalid character '{' after top-level value`,

	"scheduler-alpha":           `shapes/scheduler/scheduler_config.json: set_alpha_to_one must be true or false, not 1`,
	"scheduler-beta-one":        `shapes/scheduler/scheduler_config.json: beta_start 0.0001 and beta_end 1 must keep 0 < beta_start ≤ beta_end < 1`,
	"scheduler-beta-order":      `shapes/scheduler/scheduler_config.json: beta_start 0.03 and beta_end 0.02 must keep 0 < beta_start ≤ beta_end < 1`,
	"scheduler-beta-schedule":   `shapes/scheduler/scheduler_config.json: beta_schedule "sigmoid" is not served; served: linear, scaled_linear, squaredcos_cap_v2`,
	"scheduler-beta-sigmas":     `shapes/scheduler/scheduler_config.json: use_beta_sigmas true is not served; served: false, null`,
	"scheduler-beta-zero":       `shapes/scheduler/scheduler_config.json: beta_start 0 and beta_end 0.02 must keep 0 < beta_start ≤ beta_end < 1`,
	"scheduler-class":           `shapes/scheduler/scheduler_config.json: _class_name "PNDMScheduler" is not served; served: DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler`,
	"scheduler-clip-range":      `shapes/scheduler/scheduler_config.json: clip_sample_range 0 is not above 0`,
	"scheduler-continuous":      `shapes/scheduler/scheduler_config.json: timestep_type "continuous" is not served; served: discrete`,
	"scheduler-exponential":     `shapes/scheduler/scheduler_config.json: use_exponential_sigmas true is not served; served: false, null`,
	"scheduler-final-sigma":     `shapes/scheduler/scheduler_config.json: final_sigmas_type "sigma_min" is not served; served: zero`,
	"scheduler-interpolation":   `shapes/scheduler/scheduler_config.json: interpolation_type "log_linear" is not served; served: linear`,
	"scheduler-invalid-json":    `shapes/scheduler/scheduler_config.json: line 1, column 1: invalid character 'b' looking for beginning of value`,
	"scheduler-karras":          `shapes/scheduler/scheduler_config.json: use_karras_sigmas true is not served; served: false, null`,
	"scheduler-missing":         `shapes/scheduler/scheduler_config.json: no such file or directory`,
	"scheduler-negative-offset": `shapes/scheduler/scheduler_config.json: steps_offset -1 is outside 0…999`,
	"scheduler-no-class":        `shapes/scheduler/scheduler_config.json: _class_name is missing`,
	"scheduler-null-timesteps":  `shapes/scheduler/scheduler_config.json: num_train_timesteps must be an integer, not null`,
	"scheduler-prediction-type": `shapes/scheduler/scheduler_config.json: prediction_type "flow" is not served; served: epsilon`,
	"scheduler-spacing":         `shapes/scheduler/scheduler_config.json: timestep_spacing "karras" is not served; served: leading, trailing, linspace`,
	"scheduler-steps-offset":    `shapes/scheduler/scheduler_config.json: steps_offset 1000 is outside 0…999`,
	"scheduler-text-beta":       `shapes/scheduler/scheduler_config.json: beta_end must be a number, not "0.02"`,
	"scheduler-text-clip":       `shapes/scheduler/scheduler_config.json: clip_sample must be true or false, not "yes"`,
	"scheduler-text-timesteps":  `shapes/scheduler/scheduler_config.json: num_train_timesteps must be an integer, not "1000"`,
	"scheduler-thresholding":    `shapes/scheduler/scheduler_config.json: thresholding true is not served; served: false`,
	"scheduler-timesteps":       `shapes/scheduler/scheduler_config.json: num_train_timesteps 1 is outside 2…100000`,
	"scheduler-trained-betas":   `shapes/scheduler/scheduler_config.json: trained_betas [0.0001,0.00012,0.00014,0.00016,0.00018,… is not served; served: null, []`,
	"scheduler-variance-type":   `shapes/scheduler/scheduler_config.json: variance_type "learned_range" is not served; served: fixed_small`,
	"scheduler-zero-snr":        `shapes/scheduler/scheduler_config.json: rescale_betas_zero_snr true is not served; served: false`,
}

func TestOpenNamesTheFileAndTheMistake(t *testing.T) {
	for mistake, want := range bad {
		t.Run(mistake, func(t *testing.T) {
			_, err := Open(bundle(t, filepath.Join("bad", mistake)))
			if err == nil {
				t.Fatalf("opened it\nwant %s", want)
			}
			if err.Error() != want {
				t.Errorf("said %s\nwant %s", err, want)
			}
		})
	}
}

func TestEveryBadBundleHasItsMessage(t *testing.T) {
	folders, err := os.ReadDir("testdata/bad")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if _, found := bad[folder.Name()]; !found {
			t.Errorf("testdata/bad/%s is in no table", folder.Name())
		}
	}
}
