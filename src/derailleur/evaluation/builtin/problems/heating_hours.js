function heating_hours(temperatures, low, high){
    let isOn = false;
    return temperatures.map((temperature) => {
        if (temperature < low) {
            isOn = true;
        } else if (temperature > high) {
            isOn = false;
        }
        return isOn;
    });
}
