namespace dsa::kernels::scalar {

bool runs_here() noexcept;

bool runs_here() noexcept {
  return true;
}

}  // namespace dsa::kernels::scalar
