// Everything that a generated model.cpp calls.
#pragma once

#include "codegen/cpu/kernels/attention_blocks.h"
#include "codegen/cpu/kernels/linear.h"
#include "codegen/cpu/kernels/rows.h"
#include "codegen/cpu/kernels/shares.h"
