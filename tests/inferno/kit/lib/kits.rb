require 'davinci_crd_test_kit'
require 'davinci_dtr_test_kit'
