// Everything that a generated model.cpp calls.
#pragma once

#include "kernels/attention.h"
#include "kernels/linear.h"
