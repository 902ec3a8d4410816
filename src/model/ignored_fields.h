// The one list of configuration fields that are not used, each with the reason why it cannot change
// a result. A field that is neither read nor listed is refused by name.
#pragma once

#include "model/config_fields.h"

namespace dsa {

inline constexpr const char* kOfOtherCode = "which code made or loads the file";
inline constexpr const char* kOfTensors = "every tensor of the file tells its own type";
inline constexpr const char* kOfTraining = "training only";
inline constexpr const char* kOfDevices = "how other programs compute or spread a model";
inline constexpr const char* kOfOutputs = "what other programs' calls return; values are the same";
inline constexpr const char* kOfLabels = "labels of classifiers; these models give tokens";
inline constexpr const char* kOfText = "the tokenizer's files say it";
inline constexpr const char* kOfPadding = "batches are not padded";
inline constexpr const char* kOfSampling = "generation_config.json says how text is sampled";
inline constexpr const char* kOfLatents =
    "all heads share one latent; its rope part is qk_rope_head_dim wide";
inline constexpr const char* kOfPrediction = "multi-token prediction is not run";

inline constexpr IgnoredField kIgnoredFields[] = {
    {"_attn_implementation", kOfDevices},
    {"_attn_implementation_autoset", kOfDevices},
    {"_attn_implementation_internal", kOfDevices},
    {"_commit_hash", kOfOtherCode},
    {"_experts_implementation", kOfDevices},
    {"_experts_implementation_internal", kOfDevices},
    {"_name_or_path", kOfOtherCode},
    {"attention_dropout", kOfTraining},
    {"attn_implementation", kOfDevices},
    {"auto_map", kOfOtherCode},
    {"aux_loss_alpha", kOfTraining},
    {"bad_words_ids", kOfSampling},
    {"begin_suppress_tokens", kOfSampling},
    {"chunk_size_feed_forward", kOfDevices},
    {"custom_pipelines", kOfOtherCode},
    {"decoder_start_token_id", "encoders with decoders only"},
    {"diversity_penalty", kOfSampling},
    {"do_sample", kOfSampling},
    {"dtype", kOfTensors},
    {"early_stopping", kOfSampling},
    {"embd_pdrop", kOfTraining},
    {"encoder_no_repeat_ngram_size", kOfSampling},
    {"ep_size", kOfDevices},
    {"experts_implementation", kOfDevices},
    {"exponential_decay_length_penalty", kOfSampling},
    {"finetuning_task", kOfTraining},
    {"forced_bos_token_id", kOfSampling},
    {"forced_eos_token_id", kOfSampling},
    {"gradient_checkpointing", kOfTraining},
    {"head_dim", kOfLatents},
    {"hidden_dropout", kOfTraining},
    {"hidden_dropout_prob", kOfTraining},
    {"id2label", kOfLabels},
    {"index_share_for_mtp_iteration", kOfPrediction},
    {"initializer_range", kOfTraining},
    {"is_decoder", "these models only decode"},
    {"label2id", kOfLabels},
    {"length_penalty", kOfSampling},
    {"max_length", kOfSampling},
    {"min_length", kOfSampling},
    {"model_max_length", kOfText},
    {"mtp_loss_scaling_factor", kOfTraining},
    {"no_repeat_ngram_size", kOfSampling},
    {"num_beam_groups", kOfSampling},
    {"num_beams", kOfSampling},
    {"num_key_value_heads", kOfLatents},
    {"num_labels", kOfLabels},
    {"num_return_sequences", kOfSampling},
    {"output_attentions", kOfOutputs},
    {"output_hidden_states", kOfOutputs},
    {"output_router_logits", kOfTraining},
    {"output_scores", kOfOutputs},
    {"pad_token_id", kOfPadding},
    {"padding_side", kOfPadding},
    {"prefix", kOfText},
    {"pretraining_tp", kOfDevices},
    {"problem_type", kOfLabels},
    {"remove_invalid_values", kOfSampling},
    {"repetition_penalty", kOfSampling},
    {"resid_pdrop", kOfTraining},
    {"return_dict", kOfOutputs},
    {"return_dict_in_generate", kOfOutputs},
    {"router_aux_loss_coef", kOfTraining},
    {"router_jitter_noise", kOfTraining},
    {"router_z_loss_coef", kOfTraining},
    {"sep_token_id", kOfText},
    {"seq_aux", kOfTraining},
    {"suppress_tokens", kOfSampling},
    {"task_specific_params", kOfSampling},
    {"temperature", kOfSampling},
    {"tf_legacy_loss", kOfTraining},
    {"tie_encoder_decoder", "encoders with decoders only"},
    {"tokenizer_class", kOfText},
    {"top_k", kOfSampling},
    {"top_p", kOfSampling},
    {"torch_dtype", kOfTensors},
    {"torchscript", kOfDevices},
    {"transformers_version", kOfOtherCode},
    {"transformers_weights", kOfOtherCode},
    {"typical_p", kOfSampling},
    {"unk_token_id", kOfText},
    {"unsloth_fixed", kOfOtherCode},
    {"unsloth_version", kOfOtherCode},
    {"use_bfloat16", kOfTensors},
    {"use_cache", kOfDevices},
};

// Of quantization_config: which tensors are stored in e4m3 shows in the file.
inline constexpr IgnoredField kIgnoredQuantizationFields[] = {
    {"ignored_layers", kOfTensors},
    {"modules_to_not_convert", kOfTensors},
};

}  // namespace dsa
